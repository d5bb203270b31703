// Winograd's F(4x4, 3x3): 4 x 4 outputs of a 3 x 3 convolution from 36 multiplications a channel in place of 144. Both the
// input (6 x 6 pixels) and the kernel are evaluated at the points 0, a, -a, b, -b and infinity along either axis, multiplied
// there, and the product is interpolated. Matrices and rounding: docs/kernels.md#winograd.
//
// The points are +-sqrt(1/2) and +-sqrt(2): the rounding error is some three times smaller than with 1 and 2.

constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;
constexpr float kA2 = 0.5f, kB2 = 2.f, kA3 = kA2 * kA, kB3 = kB2 * kB;
constexpr float kNa = 1 / (2 * kA2 * (kA2 - kB2)), kNb = 1 / (2 * kB2 * (kB2 - kA2));  // and 1 / (a^2 b^2) = 1
constexpr int kPoints = 6, kOutputs = 4, kAll = kPoints * kPoints;

// Six inputs at the six points: B^T d.
inline void at_points(const vec d0, const vec d1, const vec d2, const vec d3, const vec d4, const vec d5, vec* to, int step) {
    const vec even_a = d4 - kB2 * d2, odd_a = kA * (d3 - kB2 * d1);
    const vec even_b = d4 - kA2 * d2, odd_b = kB * (d3 - kA2 * d1);
    to[0] = d0 - (kA2 + kB2) * d2 + d4;
    to[step] = even_a + odd_a;
    to[2 * step] = even_a - odd_a;
    to[3 * step] = even_b + odd_b;
    to[4 * step] = even_b - odd_b;
    to[5 * step] = d1 - (kA2 + kB2) * d3 + d5;
}

// Four outputs from the values at the points: A^T m.
inline void from_points(const vec* m, int step, vec* to, int to_step) {
    const vec sum_a = m[step] + m[2 * step], difference_a = m[step] - m[2 * step];
    const vec sum_b = m[3 * step] + m[4 * step], difference_b = m[3 * step] - m[4 * step];
    to[0] = m[0] + sum_a + sum_b;
    to[to_step] = kA * difference_a + kB * difference_b;
    to[2 * to_step] = kA2 * sum_a + kB2 * sum_b;
    to[3 * to_step] = kA3 * difference_a + kB3 * difference_b + m[5 * step];
}

// Four output gradients at the points: A g, the transpose of `from_points`.
inline void gradient_at_points(const vec g0, const vec g1, const vec g2, const vec g3, vec* to, int step) {
    const vec even_a = g0 + kA2 * g2, odd_a = kA * (g1 + kA2 * g3);
    const vec even_b = g0 + kB2 * g2, odd_b = kB * (g1 + kB2 * g3);
    to[0] = g0;
    to[step] = even_a + odd_a;
    to[2 * step] = even_a - odd_a;
    to[3 * step] = even_b + odd_b;
    to[4 * step] = even_b - odd_b;
    to[5 * step] = g3;
}

// A kernel's three values at the points: G w.
inline void kernel_at_points(const vec w0, const vec w1, const vec w2, vec* to, int step) {
    const vec even_a = kNa * (w0 + kA2 * w2), odd_a = kNa * kA * w1;
    const vec even_b = kNb * (w0 + kB2 * w2), odd_b = kNb * kB * w1;
    to[0] = w0;
    to[step] = even_a + odd_a;
    to[2 * step] = even_a - odd_a;
    to[3 * step] = even_b + odd_b;
    to[4 * step] = even_b - odd_b;
    to[5 * step] = w2;
}

// Three gradients of the kernel from those at the points: G^T s.
inline void kernel_from_points(const vec* s, int step, vec* to, int to_step) {
    const vec sum_a = kNa * (s[step] + s[2 * step]), difference_a = kNa * (s[step] - s[2 * step]);
    const vec sum_b = kNb * (s[3 * step] + s[4 * step]), difference_b = kNb * (s[3 * step] - s[4 * step]);
    to[0] = s[0] + sum_a + sum_b;
    to[to_step] = kA * difference_a + kB * difference_b;
    to[2 * to_step] = kA2 * sum_a + kB2 * sum_b + s[5 * step];
}

// How the work is cut: rows of tiles, some of them at a time.
struct Tiling {
    Reach vertical, horizontal;
    long images, down, across;        // tiles an image
    long inputs, padded_inputs;       // channels, and rounded up to whole vectors
    long phases, outputs, padded_outputs;  // of one phase
    long rows;                        // rows of tiles worked on at a time
    long columns;                     // pixels of a staged row

    long tiles() const { return rows * across; }
    long items() const { return divide_up(images * down, rows); }
    long channels() const { return phases * padded_outputs; }
    // Floats: one row of tiles staged; the inputs and outputs of `tiles()` at the points.
    long staged() const { return kPoints * columns * inputs + kLanes; }
    long input_points() const { return kAll * tiles() * padded_inputs; }
    long output_points() const { return kAll * tiles() * channels(); }
    long weights() const { return kAll * inputs * channels(); }
};

// The taps of all phases must lie within three pixels, and there must be enough of everything.
inline bool suits_winograd(const Axis& axis) {
    const Reach reach = reach_of(axis);
    return reach.stride == 1 && reach.high - reach.low == 2 && reach.count >= kOutputs;
}

inline bool suits_winograd(const Axis& vertical, const Axis& horizontal, const Weight& w) {
    constexpr long least = 16;
    if (w.groups != 1 || w.inputs < least || w.outputs < least) return false;
    return suits_winograd(vertical) && suits_winograd(horizontal);
}

inline Tiling tiling_of(const Axis& vertical, const Axis& horizontal, const Weight& w, const Image& in, int threads) {
    Tiling t;
    t.vertical = reach_of(vertical);
    t.horizontal = reach_of(horizontal);
    t.images = in.n;
    t.down = divide_up(t.vertical.count, kOutputs);
    t.across = divide_up(t.horizontal.count, kOutputs);
    t.inputs = w.inputs;
    t.padded_inputs = round_up(w.inputs, kLanes);
    t.phases = long(vertical.count) * horizontal.count;
    t.outputs = w.outputs;
    t.padded_outputs = round_up(w.outputs, kLanes);
    t.columns = t.across * kOutputs + kPoints - kOutputs;
    // Both sides at the points should stay in the second-level cache.
    constexpr long floats = 256 * 1024;
    const long row = t.across * kAll * (t.padded_inputs + t.channels());
    const long fair = divide_up(t.images * t.down, larger(1, threads));
    t.rows = larger(1, smaller(floats / row, fair));
    return t;
}

// Stages the inputs of one row of tiles and takes them to the points: points[point][tile][channel].
inline void inputs_to_points(const Tiling& t, const Source& in, long n, long ty, long tile, float* staged, float* points) {
    stage(in,
          {n, 0, t.inputs, ty * kOutputs + t.vertical.low, kPoints, 1, t.horizontal.low, t.columns, 1}, staged);
    const long pitch = t.columns * t.inputs, step = t.tiles() * t.padded_inputs;
    for (long tx = 0; tx < t.across; ++tx)
        for (long c = 0; c < t.padded_inputs; c += kLanes) {
            const float* from = staged + tx * kOutputs * t.inputs + c;
            vec half[kAll], whole[kAll];
            for (int j = 0; j < kPoints; ++j) {
                const float* at = from + j * t.inputs;
                at_points(load(at), load(at + pitch), load(at + 2 * pitch), load(at + 3 * pitch), load(at + 4 * pitch),
                          load(at + 5 * pitch), half + j, kPoints);
            }
            for (int i = 0; i < kPoints; ++i) {
                const vec* row = half + i * kPoints;
                at_points(row[0], row[1], row[2], row[3], row[4], row[5], whole + i * kPoints, 1);
            }
            float* to = points + (tile + tx) * t.padded_inputs + c;
            for (int point = 0; point < kAll; ++point) store(to + point * step, whole[point]);
        }
}

// The 3 x 3 kernel of one phase, one input channel and a vector of output channels: taps[3][3].
inline void load_kernel(const Weight& w, const Phase& pv, const Phase& ph, const Tiling& t, long c, long o, vec* taps) {
    for (int i = 0; i < 9; ++i) taps[i] = vec{};
    const long count = smaller(kLanes, w.outputs - o);
    for (int tv = 0; tv < pv.tap_count; ++tv)
        for (int th = 0; th < ph.tap_count; ++th) {
            float values[kLanes] = {};
            for (long k = 0; k < count; ++k) values[k] = tap_weight(w, o + k, c, pv.taps[tv], ph.taps[th], 0);
            taps[3 * (pv.taps[tv].offset - t.vertical.low) + ph.taps[th].offset - t.horizontal.low] = load(values);
        }
}

// weights[point][block][input][the block's channels]
inline void weights_to_points(const Gather& job, const Tiling& t, float* weights) {
    const long vectors = t.channels() / kLanes, blocks = parts_of(vectors, kMaxVectors), step = t.inputs * t.channels();
    parallel_for(job.threads, vectors, [&](long v) {
        const long phase = v * kLanes / t.padded_outputs, o = v * kLanes % t.padded_outputs;
        const Phase& pv = job.vertical.phases[phase / job.horizontal.count];
        const Phase& ph = job.horizontal.phases[phase % job.horizontal.count];
        long block = 0;
        while (part_start(vectors, blocks, block + 1) <= v) ++block;
        const long first = part_start(vectors, blocks, block), size = part_start(vectors, blocks, block + 1) - first;
        for (long c = 0; c < t.inputs; ++c) {
            vec taps[9], half[3 * kPoints], whole[kAll];
            load_kernel(job.weight, pv, ph, t, c, o, taps);
            for (int j = 0; j < 3; ++j) kernel_at_points(taps[j], taps[3 + j], taps[6 + j], half + j, 3);
            for (int i = 0; i < kPoints; ++i)
                kernel_at_points(half[3 * i], half[3 * i + 1], half[3 * i + 2], whole + i * kPoints, 1);
            float* to = weights + t.inputs * first * kLanes + c * size * kLanes + (v - first) * kLanes;
            for (int point = 0; point < kAll; ++point) store(to + point * step, whole[point]);
        }
    });
}

// products[point][tile][channel] = inputs[point][tile][.] weights[point][.][channel]
inline void multiply_points(const Tiling& t, long tiles, const float* inputs, const float* weights, const float* zeros,
                            float* products) {
    const long vectors = t.channels() / kLanes, blocks = parts_of(vectors, kMaxVectors);
    for (int point = 0; point < kAll; ++point) {
        const float* left = inputs + point * t.tiles() * t.padded_inputs;
        const float* right = weights + point * t.inputs * t.channels();
        float* to = products + point * t.tiles() * t.channels();
        for (long block = 0; block < blocks; ++block) {
            const long first = part_start(vectors, blocks, block), size = part_start(vectors, blocks, block + 1) - first;
            const long parts = parts_of(tiles, kMaxRows[size]);
            const float* rows[kRowSlots];
            float* out[kRowSlots];
            const Tile job{rows, &t.inputs, 1, right + t.inputs * first * kLanes, zeros, {}, out, kLanes};
            for (long part = 0; part < parts; ++part) {
                const long start = part_start(tiles, parts, part), end = part_start(tiles, parts, part + 1);
                for (long m = 0; m < end - start; ++m) {
                    rows[m] = left + (start + m) * t.padded_inputs;
                    out[m] = to + (start + m) * t.channels() + first * kLanes;
                }
                kFunctions.tile[size][end - start](job);
            }
        }
    }
}

// The outputs of one row of tiles, from the products.
inline void outputs_from_points(const Gather& job, const Tiling& t, long n, long ty, long tile, const float* products,
                                const float* bias) {
    const long step = t.tiles() * t.channels();
    for (long tx = 0; tx < t.across; ++tx)
        for (long v = 0; v < t.channels(); v += kLanes) {
            const long phase = v / t.padded_outputs, o = v % t.padded_outputs;
            const Phase& pv = job.vertical.phases[phase / job.horizontal.count];
            const Phase& ph = job.horizontal.phases[phase % job.horizontal.count];
            const float* from = products + (tile + tx) * t.channels() + v;
            vec all[kAll], half[kOutputs * kPoints], whole[kOutputs * kOutputs];
            for (int point = 0; point < kAll; ++point) all[point] = load(from + point * step);
            for (int j = 0; j < kPoints; ++j) from_points(all + j, kPoints, half + j, kPoints);
            for (int i = 0; i < kOutputs; ++i) from_points(half + i * kPoints, 1, whole + i * kOutputs, 1);
            const vec start = load(bias + o);
            const long rows = smaller(kOutputs, pv.count - ty * kOutputs);
            const long columns = smaller(kOutputs, ph.count - tx * kOutputs), lanes = smaller(kLanes, t.outputs - o);
            for (long i = 0; i < rows; ++i)
                for (long j = 0; j < columns; ++j) {
                    float* to = job.out.data + n * job.out.sn + (pv.first + (ty * kOutputs + i) * pv.step) * job.out.sh +
                                (ph.first + (tx * kOutputs + j) * ph.step) * job.out.sw + o;
                    store_some(to, activate(whole[i * kOutputs + j] + start, job.activation), int(lanes));
                }
        }
}

inline void gather_winograd(const Gather& job) {
    const Tiling t = tiling_of(job.vertical, job.horizontal, job.weight, job.in.image, job.threads);
    const long constant = t.padded_outputs + kMaxVectors * kLanes;
    float* bias = static_cast<float*>(scratch(0, 4.0 * (constant + double(t.weights()))));
    float *zeros = bias + t.padded_outputs, *weights = bias + constant;
    __builtin_memset(bias, 0, constant * sizeof(float));
    for (long o = 0; o < t.outputs && job.bias; ++o) bias[o] = job.bias[o];
    weights_to_points(job, t, weights);

    const long parts = smaller(larger(1, job.threads), t.items());
    const double floats = 16.0 * (2 + (double(t.staged()) + t.input_points() + t.output_points()) / 16);
    char* memory = static_cast<char*>(scratch(1, 4 * floats * parts));
    long next = 0;
    parallel_for(job.threads, parts, [&](long part) {
        float* inputs = reinterpret_cast<float*>(memory) + part * (long(floats) / 16 * 16);
        float *products = inputs + t.input_points(), *staged = products + t.output_points();
        for (long item; (item = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < t.items();) {
            const long first = item * t.rows, last = smaller(t.images * t.down, first + t.rows);
            for (long row = first; row < last; ++row)
                inputs_to_points(t, job.in, row / t.down, row % t.down, (row - first) * t.across, staged, inputs);
            multiply_points(t, (last - first) * t.across, inputs, weights, zeros, products);
            for (long row = first; row < last; ++row)
                outputs_from_points(job, t, row / t.down, row % t.down, (row - first) * t.across, products, bias);
        }
    });
}

// Stages the output gradients of one row of tiles and takes them to the points; adds up their channels.
inline void gradients_to_points(const Correlate& job, const Tiling& t, long n, long ty, long tile, float* staged,
                                float* points, float* sums) {
    const long step = t.tiles() * t.channels(), columns = t.across * kOutputs, pitch = columns * t.outputs;
    for (long phase = 0; phase < t.phases; ++phase) {
        const Phase& pv = job.vertical.phases[phase / job.horizontal.count];
        const Phase& ph = job.horizontal.phases[phase % job.horizontal.count];
        stage(job.b,
              {n, 0, t.outputs, pv.first + ty * kOutputs * pv.step, kOutputs, pv.step, ph.first, columns, ph.step}, staged);
        if (sums) add_sums(staged, kOutputs * columns, t.outputs, sums);
        for (long tx = 0; tx < t.across; ++tx)
            for (long o = 0; o < t.padded_outputs; o += kLanes) {
                const float* from = staged + tx * kOutputs * t.outputs + o;
                vec half[kPoints * kOutputs], whole[kAll];
                for (int j = 0; j < kOutputs; ++j) {
                    const float* at = from + j * t.outputs;
                    gradient_at_points(load(at), load(at + pitch), load(at + 2 * pitch), load(at + 3 * pitch), half + j,
                                       kOutputs);
                }
                for (int i = 0; i < kPoints; ++i) {
                    const vec* row = half + i * kOutputs;
                    gradient_at_points(row[0], row[1], row[2], row[3], whole + i * kPoints, 1);
                }
                float* to = points + (tile + tx) * t.channels() + phase * t.padded_outputs + o;
                for (int point = 0; point < kAll; ++point) store(to + point * step, whole[point]);
            }
    }
}

// sums[point][input][channel] += over the tiles, inputs (x) gradients
inline void correlate_points(const Tiling& t, long tiles, const float* inputs, const float* gradients, float* sums) {
    const long vectors = t.channels() / kLanes, blocks = parts_of(vectors, kMaxVectors);
    for (int point = 0; point < kAll; ++point)
        for (long block = 0; block < blocks; ++block) {
            const long first = part_start(vectors, blocks, block), size = part_start(vectors, blocks, block + 1) - first;
            const long parts = parts_of(t.inputs, kMaxRows[size]);
            for (long part = 0; part < parts; ++part) {
                const long c = part_start(t.inputs, parts, part), end = part_start(t.inputs, parts, part + 1);
                const Outer o{inputs + point * t.tiles() * t.padded_inputs + c, 0, t.padded_inputs,
                              gradients + point * t.tiles() * t.channels() + first * kLanes, 0, t.channels(), 1, tiles,
                              sums + (point * t.inputs + c) * t.channels() + first * kLanes, t.channels()};
                kFunctions.outer[size][end - c](o);
            }
        }
}

// The weight's gradient from the sums of all parts, in their order.
inline void weight_from_points(const Correlate& job, const Tiling& t, const float* sums, long parts, long part_floats) {
    const Weight& w = job.weight;
    const long slices = smaller(t.inputs, 4L * larger(1, job.threads));
    parallel_for(job.threads, slices, [&](long slice) {
        for (long c = part_start(t.inputs, slices, slice); c < part_start(t.inputs, slices, slice + 1); ++c) {
            for (long o = 0; o < w.outputs; ++o)
                for (int u = 0; u < w.height; ++u)
                    for (int v = 0; v < w.width; ++v) w.data[o * w.so + c * w.sc + u * w.su + v * w.sv] = 0;
            for (long k = 0; k < t.channels(); k += kLanes) {
                const Phase& pv = job.vertical.phases[k / t.padded_outputs / job.horizontal.count];
                const Phase& ph = job.horizontal.phases[k / t.padded_outputs % job.horizontal.count];
                vec all[kAll], half[3 * kPoints], taps[9];
                for (int point = 0; point < kAll; ++point) {
                    const float* at = sums + (point * t.inputs + c) * t.channels() + k;
                    all[point] = load(at);
                    for (long part = 1; part < parts; ++part) all[point] += load(at + part * part_floats);
                }
                for (int j = 0; j < kPoints; ++j) kernel_from_points(all + j, kPoints, half + j, kPoints);
                for (int i = 0; i < 3; ++i) kernel_from_points(half + i * kPoints, 1, taps + 3 * i, 1);
                const long first = k % t.padded_outputs, count = smaller(kLanes, t.outputs - first);
                for (int tv = 0; tv < pv.tap_count; ++tv)
                    for (int th = 0; th < ph.tap_count; ++th) {
                        const Tap &down = pv.taps[tv], &across = ph.taps[th];
                        float values[kLanes];
                        store(values, taps[3 * (down.offset - t.vertical.low) + across.offset - t.horizontal.low]);
                        for (int u = down.first; u <= down.last; ++u)
                            for (int v = across.first; v <= across.last; ++v)
                                for (long o = 0; o < count; ++o)
                                    w.data[(first + o) * w.so + c * w.sc + u * w.su + v * w.sv] += values[o];
                    }
            }
        }
    });
}

inline void correlate_winograd(const Correlate& job) {
    const Tiling t = tiling_of(job.vertical, job.horizontal, job.weight, job.a.image, job.threads);
    const long parts = smaller(larger(1, job.threads), t.items());
    const long a_channels = job.a.image.c, b_channels = job.b.image.c;
    const long part_floats = round_up(t.weights() + a_channels + b_channels, 16);
    const double row = double(job.a.image.w) * a_channels;
    const double floats = 16.0 * (2 + (double(t.staged()) + row + t.input_points() + t.output_points() +
                                       double(kOutputs) * t.across * kOutputs * t.outputs) / 16);
    float* sums = static_cast<float*>(scratch(0, 4.0 * part_floats * parts));
    float* memory = static_cast<float*>(scratch(1, 4 * floats * parts));
    parallel_for(job.threads, parts, [&](long part) {
        float* own = sums + part * part_floats;
        __builtin_memset(own, 0, part_floats * sizeof(float));
        float *own_a = own + t.weights(), *own_b = own_a + a_channels;
        float* inputs = memory + part * (long(floats) / 16 * 16);
        float *gradients = inputs + t.input_points(), *staged = gradients + t.output_points();
        for (long item = part_start(t.items(), parts, part); item < part_start(t.items(), parts, part + 1); ++item) {
            const long first = item * t.rows, last = smaller(t.images * t.down, first + t.rows);
            for (long row = first; row < last; ++row) {
                const long n = row / t.down, ty = row % t.down, tile = (row - first) * t.across;
                if (job.a_sums) add_band_sums(job.a, n, ty, t.down, staged, own_a);
                inputs_to_points(t, job.a, n, ty, tile, staged, inputs);
                gradients_to_points(job, t, n, ty, tile, staged, gradients, job.b_sums ? own_b : nullptr);
            }
            correlate_points(t, (last - first) * t.across, inputs, gradients, own);
        }
    });
    weight_from_points(job, t, sums, parts, part_floats);
    if (job.a_sums) reduce_sums(sums + t.weights(), parts, part_floats, a_channels, job.a_sums);
    if (job.b_sums) reduce_sums(sums + t.weights() + a_channels, parts, part_floats, b_channels, job.b_sums);
}
