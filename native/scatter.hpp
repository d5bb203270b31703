// Convolutions to few channels, as the last of a network to red, green and blue. `tile` would leave most lanes of its
// vectors empty. So every tap gets channels of its own: one matrix product gives, for each input pixel, what it adds to
// every output that reads it, and these are then added up.

constexpr long kFewOutputs = 4;  // a vec4

inline bool suits_scatter(const Gather& job) {
    if (job.weight.outputs > kFewOutputs || job.weight.inputs < 8 || job.weight.groups != 1) return false;
    return job.vertical.phases[0].stride == 1 && job.horizontal.phases[0].stride == 1;
}

// The sum of a phase's weights at one tap.
inline float tap_weight(const Weight& w, long o, long c, const Tap& down, const Tap& across) {
    const float* at = w.data + o * w.so + c * w.sc;
    float sum = 0;
    for (int u = down.first; u <= down.last; ++u)
        for (int v = across.first; v <= across.last; ++v) sum += at[u * w.su + v * w.sv];
    return sum;
}

// weights[block][input][the block's (phase, tap, output) columns]
inline void pack_columns(const Gather& job, long padded, float* weights) {
    const Weight& w = job.weight;
    const long vectors = padded / kLanes, blocks = parts_of(vectors, kMaxVectors);
    __builtin_memset(weights, 0, w.inputs * padded * sizeof(float));
    long column = 0;
    for (int pv = 0; pv < job.vertical.count; ++pv)
        for (int ph = 0; ph < job.horizontal.count; ++ph)
            for (int tv = 0; tv < job.vertical.phases[pv].tap_count; ++tv)
                for (int th = 0; th < job.horizontal.phases[ph].tap_count; ++th)
                    for (long o = 0; o < w.outputs; ++o, ++column) {
                        long block = 0;
                        while (part_start(vectors, blocks, block + 1) * kLanes <= column) ++block;
                        const long first = part_start(vectors, blocks, block) * kLanes;
                        const long width = part_start(vectors, blocks, block + 1) * kLanes - first;
                        float* to = weights + w.inputs * first + column - first;
                        for (long c = 0; c < w.inputs; ++c)
                            to[c * width] = tap_weight(w, o, c, job.vertical.phases[pv].taps[tv],
                                                       job.horizontal.phases[ph].taps[th]);
                    }
}

// products[pixel][column] for `pixels` pixels of `inputs` floats.
inline void multiply_pixels(const float* pixel, long pixels, long inputs, const float* weights, long padded,
                            const float* zeros, float* products) {
    const long vectors = padded / kLanes, blocks = parts_of(vectors, kMaxVectors);
    for (long block = 0; block < blocks; ++block) {
        const long first = part_start(vectors, blocks, block), size = part_start(vectors, blocks, block + 1) - first;
        const long tiles = parts_of(pixels, kMaxRows[size]);
        const float* rows[kRowSlots];
        float* out[kRowSlots];
        const Tile t{rows, &inputs, 1, weights + inputs * first * kLanes, zeros, {}, out, kLanes};
        for (long index = 0; index < tiles; ++index) {
            const long start = part_start(pixels, tiles, index), end = part_start(pixels, tiles, index + 1);
            for (long m = 0; m < end - start; ++m) {
                rows[m] = pixel + (start + m) * inputs;
                out[m] = products + (start + m) * padded + first * kLanes;
            }
            kFunctions.tile[size][end - start](t);
        }
    }
}

// A tap of one row of outputs: where its products for output j lie, at + j * pitch, and for which j there are any.
struct Products {
    const float* at;
    long first, last;
};

// sums[j] = bias + the products of all taps for outputs [first, last), which every tap has.
template <int kTaps>
void sum_taps(const Products* taps, long first, long last, long pitch, vec4 bias, float* sums) {
    const float* at[kTaps];
    for (int t = 0; t < kTaps; ++t) at[t] = taps[t].at;
    for (long j = first; j < last; ++j) {
        vec4 sum = bias;
#pragma GCC unroll 16
        for (int t = 0; t < kTaps; ++t) sum += load4(at[t] + j * pitch);
        store4(sums + 4 * j, sum);
    }
}

inline void sum_some(const Products* taps, long count, long first, long last, long pitch, vec4 bias, float* sums) {
    for (long j = first; j < last; ++j) {
        vec4 sum = bias;
        for (long t = 0; t < count; ++t)
            if (j >= taps[t].first && j < taps[t].last) sum += load4(taps[t].at + j * pitch);
        store4(sums + 4 * j, sum);
    }
}

// One row of outputs of one phase: the sum of the products that its taps point to.
inline void sum_products(const Gather& job, const Phase& pv, const Phase& ph, long n, long row, const float* products,
                         long top, long rows, long padded, long column, const float* bias, Products* taps,
                         float* sums) {
    const long outputs = job.weight.outputs, width = job.in.image.w;
    long count = 0, first = 0, last = ph.count;  // outputs that all taps have products for
    for (int tv = 0; tv < pv.tap_count; ++tv) {
        const long y = row + pv.taps[tv].offset;
        for (int th = 0; th < ph.tap_count; ++th, column += outputs) {
            if (y < top || y >= top + rows) continue;
            const long offset = ph.taps[th].offset;
            Products& tap = taps[count++];
            tap = {products + ((y - top) * width + offset) * padded + column, larger(0, -offset),
                   smaller(ph.count, width - offset)};
            first = larger(first, tap.first);
            last = smaller(last, tap.last);
        }
    }
    last = larger(first, last);
    const vec4 start = load4(bias);
    sum_some(taps, count, 0, smaller(first, ph.count), padded, start, sums);
    if (count == 9)
        sum_taps<9>(taps, first, last, padded, start, sums);
    else if (count == 4)
        sum_taps<4>(taps, first, last, padded, start, sums);
    else if (count == 2)
        sum_taps<2>(taps, first, last, padded, start, sums);
    else if (count == 1)
        sum_taps<1>(taps, first, last, padded, start, sums);
    else
        sum_some(taps, count, first, last, padded, start, sums);
    sum_some(taps, count, last, ph.count, padded, start, sums);
    for (long j = 0; j < 4 * ph.count; j += kLanes) store(sums + j, activate(load(sums + j), job.activation));
    float* out = job.out.data + n * job.out.sn + (pv.first + row * pv.step) * job.out.sh + ph.first * job.out.sw;
    const long step = ph.step * job.out.sw;
    if (outputs == 3) {
        for (long j = 0; j < ph.count; ++j)
            for (long o = 0; o < 3; ++o) out[j * step + o] = sums[4 * j + o];
        return;
    }
    for (long j = 0; j < ph.count; ++j)
        for (long o = 0; o < outputs; ++o) out[j * step + o] = sums[4 * j + o];
}

inline void gather_few(const Gather& job) {
    const Weight& w = job.weight;
    const Image& in = job.in.image;
    const Reach vertical = reach_of(job.vertical), horizontal = reach_of(job.horizontal);
    const long padded = round_up(all_taps(job.vertical) * all_taps(job.horizontal) * w.outputs, kLanes);
    const long constant = 4 + round_up(padded, 16);
    float* bias = static_cast<float*>(scratch(0, 4.0 * (constant + double(w.inputs) * padded)));
    float *zeros = bias + 4, *weights = bias + constant;
    __builtin_memset(bias, 0, constant * sizeof(float));
    for (long o = 0; o < w.outputs && job.bias; ++o) bias[o] = job.bias[o];
    pack_columns(job, padded, weights);

    const long rows = band_rows(vertical, in.w * (w.inputs + padded), in.n, job.threads);
    const long bands = divide_up(vertical.count, rows), items = in.n * bands;
    const double staged = double(extent(vertical, rows)) * in.w;
    const double taps = double(most_taps(job.vertical)) * most_taps(job.horizontal);
    const double floats = staged * (w.inputs + padded) + 4.0 * horizontal.count + 3 * kLanes + 6 * taps;
    const double bytes = 64 * (1 + long(4 * floats / 64));
    const long parts = smaller(larger(1, job.threads), items);
    char* memory = static_cast<char*>(scratch(1, bytes * parts));
    long next = 0;
    parallel_for(job.threads, parts, [&](long part) {
        Products* taken = reinterpret_cast<Products*>(memory + part * long(bytes));
        float* sums = reinterpret_cast<float*>(taken + long(taps));
        float* products = sums + round_up(4 * horizontal.count, kLanes);
        float* buffer = products + long(staged) * padded + kLanes;
        for (long item; (item = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < items;) {
            const long n = item / bands, first = item % bands * rows, last = smaller(vertical.count, first + rows);
            const long top = larger(0, first + vertical.low), bottom = smaller(in.h, last + vertical.high);
            const long height = larger(0, bottom - top);
            const Piece piece{n, 0, w.inputs, top, height, 1, 0, in.w, 1};
            Band band = take_band(job, piece, buffer);
            if (band.pitch != in.w * w.inputs) {
                stage(job.in, piece, buffer);
                band.data = buffer;
            }
            multiply_pixels(band.data, height * in.w, w.inputs, weights, padded, zeros, products);
            long column = 0;
            for (int pv = 0; pv < job.vertical.count; ++pv)
                for (int ph = 0; ph < job.horizontal.count; ++ph) {
                    const Phase &down = job.vertical.phases[pv], &across = job.horizontal.phases[ph];
                    for (long row = first; row < smaller(last, down.count); ++row)
                        sum_products(job, down, across, n, row, products, top, height, padded, column, bias, taken,
                                     sums);
                    column += long(down.tap_count) * across.tap_count * w.outputs;
                }
        }
    });
}
