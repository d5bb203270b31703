// Weight gradients: for every tap, the correlation of what the tap reads with what the window makes of it.

// All taps of one phase over one staged band: sums += a (x) b.
inline void correlate_phase(const Correlate& job, const Phase& pv, const Phase& ph, const Reach& vertical,
                            const Reach& horizontal, const float* a, long a_pitch, const float* b, long rows,
                            long padded, float* sums, long* offsets, long* lengths) {
    const Weight& w = job.weight;
    const long runs = find_runs(pv, ph, vertical, horizontal, a_pitch, w.inputs, offsets, lengths);
    const long vectors = padded / kLanes, blocks = parts_of(vectors, kMaxVectors);
    for (long block = 0; block < blocks; ++block) {
        const long first = part_start(vectors, blocks, block), size = part_start(vectors, blocks, block + 1) - first;
        float* run_sums = sums + first * kLanes;
        for (long run = 0; run < runs; run_sums += lengths[run] * padded, ++run) {
            const long parts = parts_of(lengths[run], kMaxRows[size]);
            for (long part = 0; part < parts; ++part) {
                const long k = part_start(lengths[run], parts, part), end = part_start(lengths[run], parts, part + 1);
                const Outer o{a + offsets[run] + k,
                              pv.stride * a_pitch,
                              ph.stride * w.inputs,
                              b + first * kLanes,
                              ph.count * w.outputs,
                              w.outputs,
                              rows,
                              ph.count,
                              run_sums + k * padded,
                              padded};
                kFunctions.outer[size][end - k](o);
            }
        }
    }
}

// Adds the gradients of `count` outputs to every weight element that the two taps are made of.
inline void add_values(const Weight& w, long group, long first, long count, long c, const Tap& down, const Tap& across,
                       vec values) {
    float each[kLanes];
    store(each, values);
    for (int u = down.first; u <= down.last; ++u)
        for (int v = across.first; v <= across.last; ++v) {
            float* to = w.data + group * w.sg + first * w.so + c * w.sc + u * w.su + v * w.sv;
            for (long o = 0; o < count; ++o) to[o * w.so] += each[o];
        }
}

// Adds the sums of all parts, in their order, and writes them where the weight's gradient is to be, which is dense.
inline void reduce(const Correlate& job, const float* sums, long parts, long part_floats, long padded) {
    const Weight& w = job.weight;
    const long group_floats = floats_of(job.vertical, job.horizontal, w, padded), vectors = padded / kLanes;
    __builtin_memset(w.data, 0, w.groups * w.outputs * w.inputs * w.height * w.width * sizeof(float));
    const int threads = part_floats * parts < 32768 ? 1 : job.threads;
    // Vectors of outputs are written by one thread each: their rows of the weight are its own.
    parallel_for(threads, w.groups * vectors, [&](long index) {
        const long group = index / vectors, first = index % vectors * kLanes,
                   count = smaller(kLanes, w.outputs - first);
        const float* phase = sums + group * group_floats + first;
        for (int pv = 0; pv < job.vertical.count; ++pv)
            for (int ph = 0; ph < job.horizontal.count; ++ph) {
                const Phase &vertical = job.vertical.phases[pv], &horizontal = job.horizontal.phases[ph];
                const float* at = phase;
                for (int tv = 0; tv < vertical.tap_count; ++tv)
                    for (int th = 0; th < horizontal.tap_count; ++th) {
                        const Tap &down = vertical.taps[tv], &across = horizontal.taps[th];
                        for (long c = 0; c < w.inputs; ++c, at += padded) {
                            vec sum = load(at);
                            for (long part = 1; part < parts; ++part) sum += load(at + part * part_floats);
                            add_values(w, group, first, count, c, down, across, sum);
                        }
                    }
                phase += floats_of(vertical, horizontal, w, padded);
            }
    });
}

inline void reduce_sums(const float* sums, long parts, long part_floats, long channels, float* to) {
    for (long c = 0; c < channels; ++c) {
        float sum = 0;
        for (long part = 0; part < parts; ++part) sum += sums[part * part_floats + c];
        to[c] = sum;
    }
}

// The rows of `source` that belong to `band` of `bands`, added up channel by channel.
inline void add_band_sums(const Source& source, long n, long band, long bands, float* row, float* sums) {
    const Image& in = source.image;
    for (long y = part_start(in.h, bands, band); y < part_start(in.h, bands, band + 1); ++y) {
        stage(source, {n, 0, in.c, y, 1, 1, 0, in.w, 1}, row);
        add_sums(row, in.w, in.c, sums);
    }
}

inline void correlate_direct(const Correlate& job) {
    const Weight& w = job.weight;
    const Reach vertical = reach_of(job.vertical), horizontal = reach_of(job.horizontal);
    const long padded = round_up(w.outputs, kLanes);
    const long columns = extent(horizontal, horizontal.count), images = job.a.image.n;
    const long rows = band_rows(vertical, columns * w.inputs, images, job.threads);
    const long bands = divide_up(vertical.count, rows), items = images * bands;
    const long parts = smaller(larger(1, job.threads), items);
    const long a_channels = job.a.image.c, b_channels = job.b.image.c;

    // Of each part: the sums, then the channels' sums of a and of b. What a part adds up, and in which order, depends on
    // the number of parts only, so that results repeat bit for bit.
    const long weight_floats = floats_of(job.vertical, job.horizontal, w, padded) * w.groups;
    const long part_floats = round_up(weight_floats + a_channels + b_channels, 16);
    const double taps = double(most_taps(job.vertical)) * most_taps(job.horizontal) + 1;
    const double staged_a = larger(double(extent(vertical, rows)) * columns * w.inputs,
                                   job.a_sums ? double(job.a.image.w) * a_channels : 0) +
                            kLanes;
    const double staged_b = double(rows) * horizontal.count * w.outputs + kMaxVectors * kLanes;
    const double space = 64 * (2 + (4 * (staged_a + staged_b) + 16 * taps) / 64);
    float* sums = static_cast<float*>(scratch(0, 4.0 * part_floats * parts));
    char* memory = static_cast<char*>(scratch(1, space * parts));
    parallel_for(job.threads, parts, [&](long part) {
        float* own = sums + part * part_floats;
        __builtin_memset(own, 0, part_floats * sizeof(float));
        float *own_a = own + weight_floats, *own_b = own_a + a_channels;
        float* a = reinterpret_cast<float*>(memory + part * (long(space) / 64 * 64));
        float* b = a + long(staged_a);
        long* offsets = reinterpret_cast<long*>(b + round_up(long(staged_b), 2) + (long(staged_a) & 1));
        long* lengths = offsets + long(taps);
        for (long item = part_start(items, parts, part); item < part_start(items, parts, part + 1); ++item) {
            const long n = item / bands, first = item % bands * rows, last = smaller(vertical.count, first + rows);
            if (job.a_sums) add_band_sums(job.a, n, item % bands, bands, a, own_a);
            float* phase_at = own;
            for (long group = 0; group < w.groups; ++group) {
                stage(job.a,
                      {n, group * w.inputs, w.inputs, first * vertical.stride + vertical.low,
                       extent(vertical, last - first), 1, horizontal.low, columns, 1},
                      a);
                for (int p = 0; p < job.vertical.count; ++p)
                    for (int q = 0; q < job.horizontal.count; ++q) {
                        const Phase &pv = job.vertical.phases[p], &ph = job.horizontal.phases[q];
                        const long height = smaller(last, pv.count) - first;
                        if (height > 0) {
                            stage(job.b,
                                  {n, group * w.outputs, w.outputs, pv.first + first * pv.step, height, pv.step,
                                   ph.first, ph.count, ph.step},
                                  b);
                            if (job.b_sums) add_sums(b, height * ph.count, w.outputs, own_b + group * w.outputs);
                            correlate_phase(job, pv, ph, vertical, horizontal, a, columns * w.inputs, b, height, padded,
                                            phase_at, offsets, lengths);
                        }
                        phase_at += floats_of(pv, ph, w, padded);
                    }
            }
        }
    });
    reduce(job, sums, parts, part_floats, padded);
    if (job.a_sums) reduce_sums(sums + weight_floats, parts, part_floats, a_channels, job.a_sums);
    if (job.b_sums) reduce_sums(sums + weight_floats + a_channels, parts, part_floats, b_channels, job.b_sums);
}
