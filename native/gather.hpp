// Convolutions, transposed convolutions, input gradients, with or without upsampling: all of them gather.

// Where the taps of an axis read: the window of output k covers inputs k * stride + low .. k * stride + high.
struct Reach {
    long low = 0, high = -1, stride = 1, count = 0;  // count: of the longest phase
};

inline Reach reach_of(const Axis& axis) {
    Reach reach;
    bool first = true;
    for (int p = 0; p < axis.count; ++p) {
        const Phase& phase = axis.phases[p];
        reach.count = larger(reach.count, phase.count);
        reach.stride = phase.stride;
        for (int t = 0; t < phase.tap_count; ++t) {
            const long offset = phase.taps[t].offset;
            reach.low = first ? offset : smaller(reach.low, offset);
            reach.high = first ? offset : larger(reach.high, offset);
            first = false;
        }
    }
    return reach;
}

// Inputs that `count` windows reach over.
inline long extent(const Reach& reach, long count) { return (count - 1) * reach.stride + reach.high - reach.low + 1; }

// Staged blocks of about this many floats stay in the second-level cache beside the weights.
constexpr long kStaged = 48 * 1024;

// Output rows (of each phase) worked on at a time, so that their inputs fit `kStaged` and every thread has something to do.
inline long band_rows(const Reach& vertical, long row_floats, long images, int threads) {
    const long fixed = vertical.high - vertical.low + 1 - vertical.stride;
    long rows = larger(1, (kStaged / larger(1, row_floats) - fixed) / vertical.stride);
    rows = smaller(rows, vertical.count);
    // Halos are staged twice: below some rows they would be most of the work.
    rows = larger(rows, smaller(vertical.count, divide_up(fixed, vertical.stride)));
    const long wanted = divide_up(threads, images);  // bands an image
    if (wanted > 1) rows = smaller(rows, divide_up(vertical.count, wanted));
    return divide_up(vertical.count, divide_up(vertical.count, rows));
}

inline long all_taps(const Axis& axis) {
    long taps = 0;
    for (int p = 0; p < axis.count; ++p) taps += axis.phases[p].tap_count;
    return taps;
}

// Floats of one group's weights, or of the sums for their gradients: (tap, input channel) x (output channel, padded to whole
// vectors), for one phase and for all.
inline long floats_of(const Phase& pv, const Phase& ph, const Weight& w, long padded) {
    return long(pv.tap_count) * ph.tap_count * w.inputs * padded;
}

inline long floats_of(const Axis& vertical, const Axis& horizontal, const Weight& w, long padded) {
    return all_taps(vertical) * all_taps(horizontal) * w.inputs * padded;
}

// The weights in the order in which `tile` reads them: for every phase, for every block of output channels, for every tap
// and input channel, the block's channels side by side; zeros after the last.
struct Packing {
    const Gather& job;
    long padded;  // output channels, rounded up to whole vectors
    long blocks;
    float* weights;
    float* bias;

    long phase_floats(int pv, int ph) const {
        return floats_of(job.vertical.phases[pv], job.horizontal.phases[ph], job.weight, padded);
    }
    long group_floats() const { return floats_of(job.vertical, job.horizontal, job.weight, padded); }
    long block_start(long block) const { return part_start(padded / kLanes, blocks, block) * kLanes; }
};

// The sum of a phase's weights at one tap, of output channels from `o` on side by side; zeros after the last.
inline vec tap_weights(const Weight& w, long group, long o, long c, const Tap& down, const Tap& across) {
    const float* at = w.data + group * w.sg + o * w.so + c * w.sc;
    vec sum{};
    for (int u = down.first; u <= down.last; ++u)
        for (int v = across.first; v <= across.last; ++v)
            sum += load_lanes(at + u * w.su + v * w.sv, w.so, w.outputs - o);
    return sum;
}

// One vector of output channels of one phase, from channel `first` on, side by side in rows that are `width` apart. Input
// channel after input channel, because the taps of one lie together, in as many cache lines as there are lanes.
inline void pack_vector(const Weight& w, const Phase& pv, const Phase& ph, long group, long first, long width,
                        float* to) {
    for (long c = 0; c < w.inputs; ++c, to += width) {
        float* row = to;
        for (int tv = 0; tv < pv.tap_count; ++tv)
            for (int th = 0; th < ph.tap_count; ++th, row += w.inputs * width)
                store(row, tap_weights(w, group, first, c, pv.taps[tv], ph.taps[th]));
    }
}

inline void pack(const Packing& packing) {
    const Gather& job = packing.job;
    const Weight& w = job.weight;
    const long phases = long(job.vertical.count) * job.horizontal.count;
    const long group_floats = packing.group_floats();
    for (long o = 0; o < w.groups * packing.padded; ++o) {
        const long group = o / packing.padded, channel = o % packing.padded;
        packing.bias[o] = job.bias && channel < w.outputs ? job.bias[group * w.outputs + channel] : 0;
    }
    const int threads = group_floats * w.groups < 8192 ? 1 : job.threads;
    const long vectors = packing.padded / kLanes;
    parallel_for(threads, w.groups * phases * vectors, [&](long index) {
        const long vector = index % vectors, phase = index / vectors % phases, group = index / vectors / phases;
        float* to = packing.weights + group * group_floats;
        for (long p = 0; p < phase; ++p) to += packing.phase_floats(p / job.horizontal.count, p % job.horizontal.count);
        const Phase& pv = job.vertical.phases[phase / job.horizontal.count];
        const Phase& ph = job.horizontal.phases[phase % job.horizontal.count];
        long block = 0;
        while (packing.block_start(block + 1) <= vector * kLanes) ++block;
        const long start = packing.block_start(block), width = packing.block_start(block + 1) - start;
        to += pv.tap_count * ph.tap_count * w.inputs * start + vector * kLanes - start;
        pack_vector(w, pv, ph, group, vector * kLanes, width, to);
    });
}

// The inputs of one band: staged, or where they lie if that is dense and needs no zeros.
struct Band {
    const float* data;
    long pitch;  // floats from one row to the next
};

inline Band take_band(const Gather& job, const Piece& piece, float* buffer) {
    const Image& in = job.in.image;
    const bool inside =
        piece.top >= 0 && piece.left >= 0 && piece.top + piece.rows <= in.h && piece.left + piece.columns <= in.w;
    const bool plain = job.in.activation.kind == Nonlinearity::none;
    if (inside && plain && in.sc == 1 && in.sw == piece.channels)
        return {in.data + piece.n * in.sn + piece.top * in.sh + piece.left * in.sw + piece.channel, in.sh};
    stage(job.in, piece, buffer);
    return {buffer, piece.columns * piece.channels};
}

// The runs of a phase: taps beside each other in memory are read as one. Returns how many.
inline long find_runs(const Phase& pv, const Phase& ph, const Reach& vertical, const Reach& horizontal, long pitch,
                      long channels, long* offsets, long* lengths) {
    long runs = 0;
    for (int tv = 0; tv < pv.tap_count; ++tv)
        for (int th = 0; th < ph.tap_count; ++th) {
            const bool joins = th > 0 && ph.taps[th].offset == ph.taps[th - 1].offset + 1;
            if (joins) {
                lengths[runs - 1] += channels;
                continue;
            }
            offsets[runs] =
                (pv.taps[tv].offset - vertical.low) * pitch + (ph.taps[th].offset - horizontal.low) * channels;
            lengths[runs++] = channels;
        }
    return runs;
}

inline long most_taps(const Axis& axis) {
    long most = 0;
    for (int p = 0; p < axis.count; ++p) most = larger(most, axis.phases[p].tap_count);
    return most;
}

// Buffers of one thread while it works on a band.
struct Workspace {
    float* staged;
    long *offsets, *lengths;
    const float** rows;
};

// Everything of one phase of one band and group: all pixels x all output channels.
inline void gather_phase(const Packing& packing, const Phase& pv, const Phase& ph, const Reach& vertical,
                         const Reach& horizontal, long n, long group, long first_row, long last_row, const Band& band,
                         const float* weights, const Workspace& space) {
    const Gather& job = packing.job;
    const Weight& w = job.weight;
    const long columns = ph.count, pixels = (smaller(last_row, pv.count) - first_row) * columns;
    if (pixels <= 0) return;
    const long runs = find_runs(pv, ph, vertical, horizontal, band.pitch, w.inputs, space.offsets, space.lengths);
    const long taps = long(pv.tap_count) * ph.tap_count;
    float* base = job.out.data + n * job.out.sn + group * w.outputs;
    for (long block = 0; block < packing.blocks; ++block) {
        const long first = packing.block_start(block), channels = packing.block_start(block + 1) - first;
        const long vectors = channels / kLanes;
        const long tiles = parts_of(pixels, kMaxRows[vectors]);
        float* out[kRowSlots];
        Tile t;
        t.rows = space.rows;
        t.lengths = space.lengths;
        t.runs = runs;
        t.weights = weights + taps * w.inputs * first;
        t.bias = packing.bias + group * packing.padded + first;
        t.activation = job.activation;
        t.out = out;
        t.last = int(smaller(kLanes, w.outputs - (first + channels - kLanes)));
        long row = first_row, column = 0;
        for (long index = 0; index < tiles; ++index) {
            const long size = part_start(pixels, tiles, index + 1) - part_start(pixels, tiles, index);
            const float* at[kRowSlots];
            for (long m = 0; m < size; ++m) {
                at[m] = band.data + (row - first_row) * pv.stride * band.pitch + column * ph.stride * w.inputs;
                out[m] =
                    base + (pv.first + row * pv.step) * job.out.sh + (ph.first + column * ph.step) * job.out.sw + first;
                if (++column == columns) column = 0, ++row;
            }
            for (long run = 0; run < runs; ++run)
                for (long m = 0; m < size; ++m) space.rows[run * kRowSlots + m] = at[m] + space.offsets[run];
            kFunctions.tile[vectors][size](t);
        }
    }
}

inline void gather_direct(const Gather& job) {
    const Weight& w = job.weight;
    const Reach vertical = reach_of(job.vertical), horizontal = reach_of(job.horizontal);
    const long padded = round_up(w.outputs, kLanes);
    Packing packing{job, padded, parts_of(padded / kLanes, kMaxVectors), nullptr, nullptr};
    const long group_floats = packing.group_floats();
    const double bias_floats = double(w.groups) * padded;
    packing.bias = static_cast<float*>(scratch(0, 4 * (bias_floats + double(group_floats) * w.groups)));
    packing.weights = packing.bias + long(bias_floats);
    pack(packing);

    const long columns = extent(horizontal, horizontal.count);
    const long rows = band_rows(vertical, columns * w.inputs, job.in.image.n, job.threads);
    const long bands = divide_up(vertical.count, rows), items = job.in.image.n * bands;
    const double staged = double(extent(vertical, rows)) * columns * w.inputs + kLanes;
    const double taps = double(most_taps(job.vertical)) * most_taps(job.horizontal) + 1;
    const double bytes = 64 * (4 * staged / 64 + taps * (kRowSlots + 2) * 8 / 64 + 2);
    // Every thread has a workspace of its own: parts are threads, and each takes items until none are left.
    const long parts = smaller(larger(1, job.threads), items);
    char* memory = static_cast<char*>(scratch(1, bytes * parts));
    long next = 0;
    parallel_for(job.threads, parts, [&](long part) {
        char* own = memory + part * (long(bytes) / 64 * 64);
        Workspace space;
        space.offsets = reinterpret_cast<long*>(own);
        space.lengths = space.offsets + long(taps);
        space.rows = reinterpret_cast<const float**>(space.lengths + long(taps));
        space.staged = reinterpret_cast<float*>(own + round_up(long(taps) * (kRowSlots + 2) * 8, 64));
        for (long item; (item = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < items;) {
            const long n = item / bands, first = item % bands * rows, last = smaller(vertical.count, first + rows);
            for (long group = 0; group < w.groups; ++group) {
                const Piece piece{n,
                                  group * w.inputs,
                                  w.inputs,
                                  first * vertical.stride + vertical.low,
                                  extent(vertical, last - first),
                                  1,
                                  horizontal.low,
                                  columns,
                                  1};
                const Band band = take_band(job, piece, space.staged);
                const float* weights = packing.weights + group * group_floats;
                for (int pv = 0; pv < job.vertical.count; ++pv)
                    for (int ph = 0; ph < job.horizontal.count; ++ph) {
                        gather_phase(packing, job.vertical.phases[pv], job.horizontal.phases[ph], vertical, horizontal,
                                     n, group, first, last, band, weights, space);
                        weights += packing.phase_floats(pv, ph);
                    }
            }
        }
    });
}
