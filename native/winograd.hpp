// Winograd's algorithm: tiles go to the points and back, and the products between are made there. The points, and how the
// work is cut: winograd_points.hpp.

// Stages the inputs of one row of tiles and takes them to the points: points[point][tile][phase][channel].
template <int R>
void inputs_to_points(const Tiling& t, const Source& in, long n, long ty, long tile, float* staged, float* points) {
    constexpr int kCount = Points<R>::kCount;
    const long row = t.columns * t.inputs, step = t.tiles() * t.pitch();
    const long down = t.vertical.stride, across = t.horizontal.stride;
    for (long phase = 0; phase < t.in_phases; ++phase) {
        stage(in,
              {n, 0, t.inputs, ty * kOutputs * down + t.vertical.low + phase / across, kCount, down,
               t.horizontal.low + phase % across, t.columns, across},
              staged);
        for (long tx = 0; tx < t.across; ++tx)
            for (long c = 0; c < t.padded_inputs; c += kLanes) {
                const float* from = staged + tx * kOutputs * t.inputs + c;
                vec all[kCount * kCount], half[kCount * kCount];
#pragma GCC unroll 36
                for (int i = 0; i < kCount; ++i)
#pragma GCC unroll 36
                    for (int j = 0; j < kCount; ++j) all[i * kCount + j] = load(from + i * row + j * t.inputs);
#pragma GCC unroll 36
                for (int j = 0; j < kCount; ++j) Points<R>::inputs(all + j, kCount, half + j, kCount);
#pragma GCC unroll 36
                for (int i = 0; i < kCount; ++i) Points<R>::inputs(half + i * kCount, 1, all + i * kCount, 1);
                float* to = points + (tile + tx) * t.pitch() + phase * t.padded_inputs + c;
#pragma GCC unroll 36
                for (int point = 0; point < kCount * kCount; ++point) store(to + point * step, all[point]);
            }
    }
}

// The input channels are shared out in slices when their weights are taken to the points.
inline long weight_slices(const Tiling& t, int threads) { return smaller(t.inputs, 4L * larger(1, threads)); }

// Floats that one slice needs: an input channel's weights, and its kernels of all phases of the inputs.
inline long slice_floats(const Tiling& t, const Weight& w) {
    return long(w.height) * w.width * t.padded_outputs + t.in_phases * t.taps * t.taps * kLanes;
}

// One input channel's weights with the output channels side by side: [u][v][padded output].
inline void transpose_weights(const Weight& w, long c, long padded, float* to) {
    for (int u = 0; u < w.height; ++u)
        for (int v = 0; v < w.width; ++v, to += padded) {
            const float* from = w.data + c * w.sc + u * w.su + v * w.sv;
            for (long o = 0; o < padded; o += kLanes) store(to + o, load_lanes(from + o * w.so, w.so, w.outputs - o));
        }
}

// The R x R kernels of one phase of the outputs and a vector of output channels, one for each phase of the inputs, from the
// weights of one input channel.
template <int R>
void load_kernels(const Weight& w, const Phase& pv, const Phase& ph, const Tiling& t, const float* weights, vec* taps) {
    for (long i = 0; i < t.in_phases * R * R; ++i) taps[i] = vec{};
    for (int tv = 0; tv < pv.tap_count; ++tv)
        for (int th = 0; th < ph.tap_count; ++th) {
            const Tap &down = pv.taps[tv], &across = ph.taps[th];
            const Place v = place_of(down, t.vertical), h = place_of(across, t.horizontal);
            vec& sum = taps[((v.phase * t.horizontal.stride + h.phase) * R + v.index) * R + h.index];
            for (int i = down.first; i <= down.last; ++i)
                for (int j = across.first; j <= across.last; ++j)
                    sum += load(weights + (i * w.width + j) * t.padded_outputs);
        }
}

// weights[point][phase of the outputs][block][active phase of the inputs][input][the block's channels]; `space` for the
// slices of inputs.
template <int R>
void weights_to_points(const Gather& job, const Tiling& t, float* space, float* weights) {
    constexpr int kCount = Points<R>::kCount;
    const long vectors = t.padded_outputs / kLanes, blocks = parts_of(vectors, kMaxVectors);
    const long slices = weight_slices(t, job.threads);
    parallel_for(job.threads, slices, [&](long slice) {
        float* transposed = space + slice * slice_floats(t, job.weight);
        vec* kernels = reinterpret_cast<vec*>(transposed + job.weight.height * job.weight.width * t.padded_outputs);
        for (long c = part_start(t.inputs, slices, slice); c < part_start(t.inputs, slices, slice + 1); ++c) {
            transpose_weights(job.weight, c, t.padded_outputs, transposed);
            for (long phase = 0; phase < t.phases; ++phase)
                for (long v = 0, block = 0; v < vectors; ++v) {
                    block += part_start(vectors, blocks, block + 1) <= v;
                    const long first = part_start(vectors, blocks, block);
                    const long size = part_start(vectors, blocks, block + 1) - first;
                    load_kernels<R>(job.weight, job.vertical.phases[phase / job.horizontal.count],
                                    job.horizontal.phases[phase % job.horizontal.count], t, transposed + v * kLanes,
                                    kernels);
                    for (long from = 0; from < t.in_phases; ++from) {
                        const vec* taps = kernels + from * R * R;
                        vec half[R * kCount], whole[kCount * kCount];
#pragma GCC unroll 36
                        for (int j = 0; j < R; ++j) Points<R>::kernel(taps + j, R, half + j, R);
#pragma GCC unroll 36
                        for (int i = 0; i < kCount; ++i) Points<R>::kernel(half + R * i, 1, whole + i * kCount, 1);
                        for (int point = 0; point < kCount * kCount; ++point) {
                            const unsigned active = t.active[point][phase];
                            if (!(active >> from & 1)) continue;
                            const long before = __builtin_popcount(active & ((1u << from) - 1));
                            float* to = weights + t.start[point][phase];
                            to += __builtin_popcount(active) * t.inputs * first * kLanes;
                            store(to + ((before * t.inputs + c) * size + v - first) * kLanes, whole[point]);
                        }
                    }
                }
        }
    });
}

// products[point][tile][channel] = inputs[point][tile][.] weights[point][.][channel]
inline void multiply_points(const Tiling& t, long tiles, const float* inputs, const float* weights, const float* zeros,
                            const float** rows, long* lengths, float* products) {
    const long vectors = t.padded_outputs / kLanes, blocks = parts_of(vectors, kMaxVectors);
    for (long phase = 0; phase < t.in_phases; ++phase) lengths[phase] = t.inputs;
    for (int point = 0; point < t.points; ++point)
        for (long phase = 0; phase < t.phases; ++phase) {
            const unsigned active = t.active[point][phase];
            const long runs = __builtin_popcount(active);
            const float* left = inputs + point * t.tiles() * t.pitch();
            float* to = products + point * t.tiles() * t.channels() + phase * t.padded_outputs;
            for (long block = 0; block < blocks; ++block) {
                const long first = part_start(vectors, blocks, block);
                const long size = part_start(vectors, blocks, block + 1) - first;
                const long parts = parts_of(tiles, kMaxRows[size]);
                const float* right = weights + t.start[point][phase] + runs * t.inputs * first * kLanes;
                float* out[kRowSlots];
                const Tile job{rows, lengths, runs, right, zeros, {}, out, kLanes};
                for (long part = 0; part < parts; ++part) {
                    const long start = part_start(tiles, parts, part), end = part_start(tiles, parts, part + 1);
                    for (long m = 0; m < end - start; ++m) {
                        const float** row = rows + m;
                        for (long from = 0; from < t.in_phases; ++from) {
                            if (!(active >> from & 1)) continue;
                            *row = left + (start + m) * t.pitch() + from * t.padded_inputs;
                            row += kRowSlots;
                        }
                        out[m] = to + (start + m) * t.channels() + first * kLanes;
                    }
                    kFunctions.tile[size][end - start](job);
                }
            }
        }
}

// The outputs of one row of tiles, from the products.
template <int R>
void outputs_from_points(const Gather& job, const Tiling& t, long n, long ty, long tile, const float* products,
                         const float* bias) {
    constexpr int kCount = Points<R>::kCount;
    const long step = t.tiles() * t.channels();
    for (long tx = 0; tx < t.across; ++tx)
        for (long v = 0; v < t.channels(); v += kLanes) {
            const long phase = v / t.padded_outputs, o = v % t.padded_outputs;
            const Phase& pv = job.vertical.phases[phase / job.horizontal.count];
            const Phase& ph = job.horizontal.phases[phase % job.horizontal.count];
            const float* from = products + (tile + tx) * t.channels() + v;
            vec all[kCount * kCount], half[kOutputs * kCount], whole[kOutputs * kOutputs];
#pragma GCC unroll 36
            for (int point = 0; point < kCount * kCount; ++point) all[point] = load(from + point * step);
#pragma GCC unroll 36
            for (int j = 0; j < kCount; ++j) Points<R>::outputs(all + j, kCount, half + j, kCount);
#pragma GCC unroll 36
            for (int i = 0; i < kOutputs; ++i) Points<R>::outputs(half + i * kCount, 1, whole + i * kOutputs, 1);
            const vec start = load(bias + o);
            const long rows = smaller(kOutputs, pv.count - ty * kOutputs);
            const long columns = smaller(kOutputs, ph.count - tx * kOutputs), lanes = smaller(kLanes, t.outputs - o);
            for (long i = 0; i < rows; ++i)
                for (long j = 0; j < columns; ++j) {
                    float* to = job.out.data + n * job.out.sn +
                                (pv.first + (ty * kOutputs + i) * pv.step) * job.out.sh +
                                (ph.first + (tx * kOutputs + j) * ph.step) * job.out.sw + o;
                    store_some(to, activate(whole[i * kOutputs + j] + start, job.activation), int(lanes));
                }
        }
}

template <int R>
void gather_tiles(const Gather& job, const Tiling& t) {
    const long constant = t.padded_outputs + kMaxVectors * kLanes;
    const long slices = weight_slices(t, job.threads) * slice_floats(t, job.weight);
    float* bias = static_cast<float*>(scratch(0, 4.0 * (constant + slices + double(t.weight_count))));
    float *zeros = bias + t.padded_outputs, *space = bias + constant, *weights = space + slices;
    __builtin_memset(bias, 0, constant * sizeof(float));
    for (long o = 0; o < t.outputs && job.bias; ++o) bias[o] = job.bias[o];
    weights_to_points<R>(job, t, space, weights);

    const long parts = smaller(larger(1, job.threads), t.items()), runs = t.in_phases;
    const double floats =
        16.0 * (3 + (double(t.staged()) + t.input_points() + t.output_points() + 2 * (kRowSlots + 1) * runs) / 16);
    char* memory = static_cast<char*>(scratch(1, 4 * floats * parts));
    long next = 0;
    parallel_for(job.threads, parts, [&](long part) {
        float* inputs = reinterpret_cast<float*>(memory) + part * (long(floats) / 16 * 16);
        float *products = inputs + t.input_points(), *staged = products + t.output_points();
        const float** rows = reinterpret_cast<const float**>(staged + round_up(t.staged(), 16));
        long* lengths = reinterpret_cast<long*>(rows + kRowSlots * runs);
        for (long item; (item = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < t.items();) {
            const long first = item * t.rows, last = smaller(t.images * t.down, first + t.rows);
            for (long row = first; row < last; ++row)
                inputs_to_points<R>(t, job.in, row / t.down, row % t.down, (row - first) * t.across, staged, inputs);
            multiply_points(t, (last - first) * t.across, inputs, weights, zeros, rows, lengths, products);
            for (long row = first; row < last; ++row)
                outputs_from_points<R>(job, t, row / t.down, row % t.down, (row - first) * t.across, products, bias);
        }
    });
}

inline void gather_winograd(const Gather& job) {
    const Tiling t = tiling_of(job.vertical, job.horizontal, job.weight, job.in.image, job.threads);
    t.taps == 3 ? gather_tiles<3>(job, t) : gather_tiles<2>(job, t);
}

// Stages the output gradients of one row of tiles and takes them to the points; adds up their channels.
template <int R>
void gradients_to_points(const Correlate& job, const Tiling& t, long n, long ty, long tile, float* staged,
                         float* points, float* sums) {
    constexpr int kCount = Points<R>::kCount;
    const long step = t.tiles() * t.channels(), columns = t.across * kOutputs, pitch = columns * t.outputs;
    for (long phase = 0; phase < t.phases; ++phase) {
        const Phase& pv = job.vertical.phases[phase / job.horizontal.count];
        const Phase& ph = job.horizontal.phases[phase % job.horizontal.count];
        stage(job.b,
              {n, 0, t.outputs, pv.first + ty * kOutputs * pv.step, kOutputs, pv.step, ph.first, columns, ph.step},
              staged);
        if (sums) add_sums(staged, kOutputs * columns, t.outputs, sums);
        for (long tx = 0; tx < t.across; ++tx)
            for (long o = 0; o < t.padded_outputs; o += kLanes) {
                const float* from = staged + tx * kOutputs * t.outputs + o;
                vec all[kOutputs * kOutputs], half[kCount * kOutputs], whole[kCount * kCount];
#pragma GCC unroll 36
                for (int i = 0; i < kOutputs; ++i)
#pragma GCC unroll 36
                    for (int j = 0; j < kOutputs; ++j) all[i * kOutputs + j] = load(from + i * pitch + j * t.outputs);
#pragma GCC unroll 36
                for (int j = 0; j < kOutputs; ++j) Points<R>::gradients(all + j, kOutputs, half + j, kOutputs);
#pragma GCC unroll 36
                for (int i = 0; i < kCount; ++i) Points<R>::gradients(half + i * kOutputs, 1, whole + i * kCount, 1);
                float* to = points + (tile + tx) * t.channels() + phase * t.padded_outputs + o;
#pragma GCC unroll 36
                for (int point = 0; point < kCount * kCount; ++point) store(to + point * step, whole[point]);
            }
    }
}

// sums[point][phase of the inputs][input][channel] += over the tiles, inputs (x) gradients
inline void correlate_points(const Tiling& t, long tiles, const float* inputs, const float* gradients, float* sums) {
    const long vectors = t.padded_outputs / kLanes, blocks = parts_of(vectors, kMaxVectors);
    for (int point = 0; point < t.points; ++point)
        for (long block = 0; block < t.phases * blocks; ++block) {
            const long phase = block / blocks, first = part_start(vectors, blocks, block % blocks);
            const long size = part_start(vectors, blocks, block % blocks + 1) - first;
            const long channel = phase * t.padded_outputs + first * kLanes, parts = parts_of(t.inputs, kMaxRows[size]);
            for (long from = 0; from < t.in_phases; ++from)
                for (long part = 0; part < parts && t.active[point][phase] >> from & 1; ++part) {
                    const long c = part_start(t.inputs, parts, part), end = part_start(t.inputs, parts, part + 1);
                    const long row = point * t.depth() + from * t.inputs + c;
                    const Outer o{inputs + point * t.tiles() * t.pitch() + from * t.padded_inputs + c,
                                  0,
                                  t.pitch(),
                                  gradients + point * t.tiles() * t.channels() + channel,
                                  0,
                                  t.channels(),
                                  1,
                                  tiles,
                                  sums + row * t.channels() + channel,
                                  t.channels()};
                    kFunctions.outer[size][end - c](o);
                }
        }
}

// Adds the gradients of one R x R kernel to the weight elements that its taps are made of.
template <int R>
void add_taps(const Weight& w, const Phase& pv, const Phase& ph, const Tiling& t, long from, long c, long o,
              const vec* taps) {
    const long count = smaller(kLanes, t.outputs - o);
    for (int tv = 0; tv < pv.tap_count; ++tv)
        for (int th = 0; th < ph.tap_count; ++th) {
            const Tap &down = pv.taps[tv], &across = ph.taps[th];
            const Place v = place_of(down, t.vertical), h = place_of(across, t.horizontal);
            if (v.phase * t.horizontal.stride + h.phase == from)
                add_values(w, 0, o, count, c, down, across, taps[R * v.index + h.index]);
        }
}

// The weight's gradient from the sums of all parts, in their order.
template <int R>
void weight_from_points(const Correlate& job, const Tiling& t, const float* sums, long parts, long part_floats) {
    constexpr int kCount = Points<R>::kCount;
    const Weight& w = job.weight;
    __builtin_memset(w.data, 0, w.outputs * w.inputs * w.height * w.width * sizeof(float));
    const long slices = smaller(t.inputs, 4L * larger(1, job.threads));
    parallel_for(job.threads, slices, [&](long slice) {
        for (long c = part_start(t.inputs, slices, slice); c < part_start(t.inputs, slices, slice + 1); ++c)
            for (long from = 0; from < t.in_phases; ++from)
                for (long k = 0; k < t.channels(); k += kLanes) {
                    const Phase& pv = job.vertical.phases[k / t.padded_outputs / job.horizontal.count];
                    const Phase& ph = job.horizontal.phases[k / t.padded_outputs % job.horizontal.count];
                    vec all[kCount * kCount], half[R * kCount], taps[R * R];
#pragma GCC unroll 36
                    for (int point = 0; point < kCount * kCount; ++point) {
                        const float* at = sums + (point * t.depth() + from * t.inputs + c) * t.channels() + k;
                        all[point] = load(at);
                        for (long part = 1; part < parts; ++part) all[point] += load(at + part * part_floats);
                    }
#pragma GCC unroll 36
                    for (int j = 0; j < kCount; ++j) Points<R>::kernel_gradient(all + j, kCount, half + j, kCount);
#pragma GCC unroll 36
                    for (int i = 0; i < R; ++i) Points<R>::kernel_gradient(half + i * kCount, 1, taps + R * i, 1);
                    add_taps<R>(w, pv, ph, t, from, c, k % t.padded_outputs, taps);
                }
    });
}

template <int R>
void correlate_tiles(const Correlate& job, const Tiling& t) {
    const long parts = smaller(larger(1, job.threads), t.items());
    const long a_channels = job.a.image.c, b_channels = job.b.image.c;
    const long part_floats = round_up(t.sums() + a_channels + b_channels, 16);
    const double staged_b = double(kOutputs) * t.across * kOutputs * t.outputs,
                 row = double(job.a.image.w) * a_channels;
    const double floats =
        16.0 * (2 + (double(t.staged()) + row + staged_b + t.input_points() + t.output_points()) / 16);
    float* sums = static_cast<float*>(scratch(0, 4.0 * part_floats * parts));
    float* memory = static_cast<float*>(scratch(1, 4 * floats * parts));
    parallel_for(job.threads, parts, [&](long part) {
        float* own = sums + part * part_floats;
        __builtin_memset(own, 0, part_floats * sizeof(float));
        float *own_a = own + t.sums(), *own_b = own_a + a_channels;
        float* inputs = memory + part * (long(floats) / 16 * 16);
        float *gradients = inputs + t.input_points(), *staged = gradients + t.output_points();
        for (long item = part_start(t.items(), parts, part); item < part_start(t.items(), parts, part + 1); ++item) {
            const long first = item * t.rows, last = smaller(t.images * t.down, first + t.rows);
            for (long row = first; row < last; ++row) {
                const long n = row / t.down, ty = row % t.down, tile = (row - first) * t.across;
                if (job.a_sums) add_band_sums(job.a, n, ty, t.down, staged, own_a);
                inputs_to_points<R>(t, job.a, n, ty, tile, staged, inputs);
                gradients_to_points<R>(job, t, n, ty, tile, staged, gradients, job.b_sums ? own_b : nullptr);
            }
            correlate_points(t, (last - first) * t.across, inputs, gradients, own);
        }
    });
    weight_from_points<R>(job, t, sums, parts, part_floats);
    if (job.a_sums) reduce_sums(sums + t.sums(), parts, part_floats, a_channels, job.a_sums);
    if (job.b_sums) reduce_sums(sums + t.sums() + a_channels, parts, part_floats, b_channels, job.b_sums);
}

inline void correlate_winograd(const Correlate& job) {
    const Tiling t = tiling_of(job.vertical, job.horizontal, job.weight, job.a.image, job.threads);
    t.taps == 3 ? correlate_tiles<3>(job, t) : correlate_tiles<2>(job, t);
}
