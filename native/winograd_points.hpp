// Winograd's F(4x4, RxR), R = 3 or 2: 4 x 4 outputs of a convolution with an R x R kernel from 36 or 25 multiplications a
// channel in place of 144 or 64. Inputs and kernel are evaluated at 3 + R points along either axis, multiplied there, and
// the product is interpolated. Matrices and rounding: docs/kernels.md#winograd.
//
// Larger and strided kernels come down to these: of every phase of the outputs, and of every phase of the inputs, at most
// three taps are left along an axis; the phases are channels of their own.
//
// Here: the points, what is to be multiplied at them, what it costs and how it is cut. winograd.hpp does the work.

constexpr int kOutputs = 4;  // a tile, along an axis

template <int R>
struct Points;

// The points 0, a, -a, b, -b and infinity. With a^2 = 1/2, b^2 = 2 the rounding error is four to five times smaller than with
// the usual 1 and 2.
template <>
struct Points<3> {
    static constexpr int kCount = 6;
    static constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;
    static constexpr float kA2 = 0.5f, kB2 = 2.f, kA3 = kA2 * kA, kB3 = kB2 * kB;
    // 1 over the product of a point's distances to the others; for 0 it is 1.
    static constexpr float kNa = 1 / (2 * kA2 * (kA2 - kB2)), kNb = 1 / (2 * kB2 * (kB2 - kA2));

    // Inputs at the points: B^T d.
    static void inputs(const vec* d, int from, vec* to, int step) {
        const vec even_a = d[4 * from] - kB2 * d[2 * from], odd_a = kA * (d[3 * from] - kB2 * d[from]);
        const vec even_b = d[4 * from] - kA2 * d[2 * from], odd_b = kB * (d[3 * from] - kA2 * d[from]);
        to[0] = d[0] - (kA2 + kB2) * d[2 * from] + d[4 * from];
        to[step] = even_a + odd_a;
        to[2 * step] = even_a - odd_a;
        to[3 * step] = even_b + odd_b;
        to[4 * step] = even_b - odd_b;
        to[5 * step] = d[from] - (kA2 + kB2) * d[3 * from] + d[5 * from];
    }

    // Outputs from their values at the points: A^T m.
    static void outputs(const vec* m, int from, vec* to, int step) {
        const vec sum_a = m[from] + m[2 * from], difference_a = m[from] - m[2 * from];
        const vec sum_b = m[3 * from] + m[4 * from], difference_b = m[3 * from] - m[4 * from];
        to[0] = m[0] + sum_a + sum_b;
        to[step] = kA * difference_a + kB * difference_b;
        to[2 * step] = kA2 * sum_a + kB2 * sum_b;
        to[3 * step] = kA3 * difference_a + kB3 * difference_b + m[5 * from];
    }

    // Output gradients at the points: A g.
    static void gradients(const vec* g, int from, vec* to, int step) {
        const vec even_a = g[0] + kA2 * g[2 * from], odd_a = kA * (g[from] + kA2 * g[3 * from]);
        const vec even_b = g[0] + kB2 * g[2 * from], odd_b = kB * (g[from] + kB2 * g[3 * from]);
        to[0] = g[0];
        to[step] = even_a + odd_a;
        to[2 * step] = even_a - odd_a;
        to[3 * step] = even_b + odd_b;
        to[4 * step] = even_b - odd_b;
        to[5 * step] = g[3 * from];
    }

    // A kernel at the points: G w.
    static void kernel(const vec* w, int from, vec* to, int step) {
        const vec even_a = kNa * (w[0] + kA2 * w[2 * from]), odd_a = kNa * kA * w[from];
        const vec even_b = kNb * (w[0] + kB2 * w[2 * from]), odd_b = kNb * kB * w[from];
        to[0] = w[0];
        to[step] = even_a + odd_a;
        to[2 * step] = even_a - odd_a;
        to[3 * step] = even_b + odd_b;
        to[4 * step] = even_b - odd_b;
        to[5 * step] = w[2 * from];
    }

    // A kernel's gradient from that at the points: G^T s.
    static void kernel_gradient(const vec* s, int from, vec* to, int step) {
        const vec sum_a = kNa * (s[from] + s[2 * from]), difference_a = kNa * (s[from] - s[2 * from]);
        const vec sum_b = kNb * (s[3 * from] + s[4 * from]), difference_b = kNb * (s[3 * from] - s[4 * from]);
        to[0] = s[0] + sum_a + sum_b;
        to[step] = kA * difference_a + kB * difference_b;
        to[2 * step] = kA2 * sum_a + kB2 * sum_b + s[5 * from];
    }
};

// The points a, -a, b, -b and infinity: 0 is not among them. With a = 1/2, b = 5/4 the rounding error is some four times
// smaller than with 0, 1, -1 and 2.
template <>
struct Points<2> {
    static constexpr int kCount = 5;
    static constexpr float kA = 0.5f, kB = 1.25f;
    static constexpr float kA2 = kA * kA, kB2 = kB * kB, kA3 = kA2 * kA, kB3 = kB2 * kB;
    static constexpr float kNa = 1 / (2 * kA * (kA2 - kB2)), kNb = 1 / (2 * kB * (kB2 - kA2));

    static void inputs(const vec* d, int from, vec* to, int step) {
        const vec even_a = d[3 * from] - kB2 * d[from], odd_a = kA * (d[2 * from] - kB2 * d[0]);
        const vec even_b = d[3 * from] - kA2 * d[from], odd_b = kB * (d[2 * from] - kA2 * d[0]);
        to[0] = even_a + odd_a;
        to[step] = even_a - odd_a;
        to[2 * step] = even_b + odd_b;
        to[3 * step] = even_b - odd_b;
        to[4 * step] = kA2 * kB2 * d[0] - (kA2 + kB2) * d[2 * from] + d[4 * from];
    }

    static void outputs(const vec* m, int from, vec* to, int step) {
        const vec sum_a = m[0] + m[from], difference_a = m[0] - m[from];
        const vec sum_b = m[2 * from] + m[3 * from], difference_b = m[2 * from] - m[3 * from];
        to[0] = sum_a + sum_b;
        to[step] = kA * difference_a + kB * difference_b;
        to[2 * step] = kA2 * sum_a + kB2 * sum_b;
        to[3 * step] = kA3 * difference_a + kB3 * difference_b + m[4 * from];
    }

    static void gradients(const vec* g, int from, vec* to, int step) {
        const vec even_a = g[0] + kA2 * g[2 * from], odd_a = kA * (g[from] + kA2 * g[3 * from]);
        const vec even_b = g[0] + kB2 * g[2 * from], odd_b = kB * (g[from] + kB2 * g[3 * from]);
        to[0] = even_a + odd_a;
        to[step] = even_a - odd_a;
        to[2 * step] = even_b + odd_b;
        to[3 * step] = even_b - odd_b;
        to[4 * step] = g[3 * from];
    }

    static void kernel(const vec* w, int from, vec* to, int step) {
        const vec even_a = kNa * w[0], odd_a = kNa * kA * w[from], even_b = kNb * w[0], odd_b = kNb * kB * w[from];
        to[0] = odd_a + even_a;
        to[step] = odd_a - even_a;
        to[2 * step] = odd_b + even_b;
        to[3 * step] = odd_b - even_b;
        to[4 * step] = w[from];
    }

    static void kernel_gradient(const vec* s, int from, vec* to, int step) {
        const vec sum_a = s[0] + s[from], difference_a = s[0] - s[from];
        const vec sum_b = s[2 * from] + s[3 * from], difference_b = s[2 * from] - s[3 * from];
        to[0] = kNa * difference_a + kNb * difference_b;
        to[step] = kNa * kA * sum_a + kNb * kB * sum_b + s[4 * from];
    }
};

// A tap's place along one axis: which phase of the inputs it reads, and its index in the kernel of that phase.
struct Place {
    long phase, index;
};

inline Place place_of(const Tap& tap, const Reach& reach) {
    return {(tap.offset - reach.low) % reach.stride, (tap.offset - reach.low) / reach.stride};
}

// Whether the kernel between a phase of the inputs and one of the outputs is other than zero at a point of one axis. The
// point 0, the first of those of three taps, sees a kernel's first value alone, and infinity, the last, its last: where a
// phase lacks that tap, nothing needs to be multiplied. So a 3 x 3 kernel of stride 2, whose phases have two taps and one,
// takes 81 products in place of 100.
inline bool is_active(const Phase& output, const Reach& reach, long input_phase, int taps, int point) {
    for (int t = 0; t < output.tap_count; ++t) {
        const Place place = place_of(output.taps[t], reach);
        if (place.phase != input_phase) continue;
        const bool zero = taps == 3 && point == 0, infinity = point == taps + kOutputs - 2;
        if ((!zero && !infinity) || (zero && place.index == 0) || (infinity && place.index == taps - 1)) return true;
    }
    return false;
}

// How many combinations of a point, a phase of the inputs and one of the outputs are active along one axis.
inline long active_count(const Axis& axis, const Reach& reach, int taps) {
    long count = 0;
    for (int p = 0; p < axis.count; ++p)
        for (long from = 0; from < reach.stride; ++from)
            for (int point = 0; point < taps + kOutputs - 1; ++point)
                count += is_active(axis.phases[p], reach, from, taps, point);
    return count;
}

constexpr long kMaxPhases = 16, kMaxPoints = 36;

// How the work is cut: rows of tiles, some of them at a time.
struct Tiling {
    Reach vertical, horizontal;
    int taps, points;                       // R, and points along both axes together
    long images, down, across;              // tiles an image
    long in_phases, inputs, padded_inputs;  // channels of one phase, and rounded up to whole vectors
    long phases, outputs, padded_outputs;
    long rows;                                // rows of tiles worked on at a time
    long columns;                             // pixels of a staged row
    unsigned active[kMaxPoints][kMaxPhases];  // of a point and a phase of the outputs: bit i for phase i of the inputs
    long start[kMaxPoints][kMaxPhases];       // where its weights begin
    long weight_count;

    long tiles() const { return rows * across; }
    long items() const { return divide_up(images * down, rows); }
    long depth() const { return in_phases * inputs; }
    long pitch() const { return in_phases * padded_inputs; }
    long channels() const { return phases * padded_outputs; }
    // Floats: one row of tiles staged; the inputs and outputs of `tiles()` at the points.
    long staged() const { return (taps + kOutputs - 1) * columns * inputs + kLanes; }
    long input_points() const { return points * tiles() * pitch(); }
    long output_points() const { return points * tiles() * channels(); }
    long sums() const { return points * depth() * channels(); }
};

// R for one axis: the taps that one phase of the inputs has, at least 2.
inline long taps_of(const Reach& reach) { return larger(2, (reach.high - reach.low) / reach.stride + 1); }

// What a convolution costs by the direct way, in vector operations.
inline double direct_cost(const Axis& vertical, const Axis& horizontal, const Weight& w) {
    const double windows = double(reach_of(vertical).count) * reach_of(horizontal).count;
    const double taps = double(all_taps(vertical)) * all_taps(horizontal);
    return windows * taps * w.inputs * w.groups * divide_up(w.outputs, kLanes);
}

// The same by tiles, of one image in `images`. The transforms count double, those of the weights four times, because they
// wait for memory. Infinite where it can't be done.
inline double winograd_cost(const Axis& vertical, const Axis& horizontal, const Weight& w, long images) {
    constexpr double never = 1e300;
    constexpr long least = 12;  // channels, below which the transforms are most of the work
    if (w.groups != 1 || w.inputs < least || w.outputs < least) return never;
    const Reach down = reach_of(vertical), across = reach_of(horizontal);
    const int taps = int(larger(taps_of(down), taps_of(across)));
    if (taps > 3 || down.stride * across.stride > kMaxPhases || long(vertical.count) * horizontal.count > kMaxPhases)
        return never;
    const double points = (taps + kOutputs - 1) * (taps + kOutputs - 1);
    const double tiles = double(divide_up(down.count, kOutputs)) * divide_up(across.count, kOutputs);
    const double in_phases = double(down.stride) * across.stride, phases = double(vertical.count) * horizontal.count;
    const double in_vectors = divide_up(w.inputs, kLanes), vectors = divide_up(w.outputs, kLanes);
    const double active = double(active_count(vertical, down, taps)) * active_count(horizontal, across, taps);
    const double products = active * w.inputs * vectors;
    const double transforms = points * (12 * in_phases * in_vectors + 10 * phases * vectors);
    return tiles * (products + transforms) + 4 * products / images;
}

inline bool suits_winograd(const Axis& vertical, const Axis& horizontal, const Weight& w, long images) {
    return winograd_cost(vertical, horizontal, w, images) < 0.95 * direct_cost(vertical, horizontal, w);
}

inline void find_active(const Axis& vertical, const Axis& horizontal, Tiling& t) {
    const int count = t.taps + kOutputs - 1;
    t.weight_count = 0;
    for (int point = 0; point < t.points; ++point)
        for (long phase = 0; phase < t.phases; ++phase) {
            const Phase& pv = vertical.phases[phase / horizontal.count];
            const Phase& ph = horizontal.phases[phase % horizontal.count];
            unsigned bits = 0;
            for (long from = 0; from < t.in_phases; ++from) {
                const bool active = is_active(pv, t.vertical, from / t.horizontal.stride, t.taps, point / count) &&
                                    is_active(ph, t.horizontal, from % t.horizontal.stride, t.taps, point % count);
                bits |= unsigned(active) << from;
            }
            t.active[point][phase] = bits;
            t.start[point][phase] = t.weight_count;
            t.weight_count += __builtin_popcount(bits) * t.inputs * t.padded_outputs;
        }
}

inline Tiling tiling_of(const Axis& vertical, const Axis& horizontal, const Weight& w, const Image& in, int threads) {
    Tiling t;
    t.vertical = reach_of(vertical);
    t.horizontal = reach_of(horizontal);
    t.taps = int(larger(taps_of(t.vertical), taps_of(t.horizontal)));
    t.points = (t.taps + kOutputs - 1) * (t.taps + kOutputs - 1);
    t.images = in.n;
    t.down = divide_up(t.vertical.count, kOutputs);
    t.across = divide_up(t.horizontal.count, kOutputs);
    t.in_phases = t.vertical.stride * t.horizontal.stride;
    t.inputs = w.inputs;
    t.padded_inputs = round_up(w.inputs, kLanes);
    t.phases = long(vertical.count) * horizontal.count;
    t.outputs = w.outputs;
    t.padded_outputs = round_up(w.outputs, kLanes);
    t.columns = t.across * kOutputs + t.taps - 1;
    // Both sides at the points should stay in the second-level cache.
    constexpr long floats = 256 * 1024;
    const long row = t.across * t.points * (t.pitch() + t.channels());
    const long fair = divide_up(t.images * t.down, larger(1, threads));
    t.rows = larger(1, smaller(floats / row, fair));
    find_active(vertical, horizontal, t);
    return t;
}
