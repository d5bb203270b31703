// The two inner loops in which all the arithmetic happens: a block of sums held in registers.

// rows x vectors sums: out[m] = activation(bias + sum over runs and k of rows[run][m][k] * weights[.][k]).
struct Tile {
    const float* const* rows;  // kRowSlots pointers a run
    const long* lengths;       // floats to read at each pointer of a run
    long runs;
    const float* weights;  // vectors * kLanes for each float of each run
    const float* bias;     // vectors * kLanes
    Activation activation;
    float* const* out;
    int last;  // lanes of the last vector that are stored
};

template <int kRows, int kVectors>
void tile(const Tile& t) {
    vec sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) sums[m][v] = load(t.bias + v * kLanes);
    const float* weights = t.weights;
    const float* const* rows = t.rows;
    for (long run = 0; run < t.runs; ++run, rows += kRowSlots) {
        const float* row[kRows];
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) row[m] = rows[m];
        const long length = t.lengths[run];
        for (long k = 0; k < length; ++k, weights += kVectors * kLanes) {
            vec weight[kVectors];
#pragma GCC unroll 16
            for (int v = 0; v < kVectors; ++v) weight[v] = load(weights + v * kLanes);
#pragma GCC unroll 16
            for (int m = 0; m < kRows; ++m) {
                const vec x = splat(row[m][k]);
#pragma GCC unroll 16
                for (int v = 0; v < kVectors; ++v) sums[m][v] += x * weight[v];
            }
        }
    }
    if (t.activation.kind != Nonlinearity::none) {
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 16
            for (int v = 0; v < kVectors; ++v) sums[m][v] = activate(sums[m][v], t.activation);
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
        for (int v = 0; v + 1 < kVectors; ++v) store(t.out[m] + v * kLanes, sums[m][v]);
    }
    if (t.last == kLanes) {
#pragma GCC unroll 16
        for (int m = 0; m < kRows; ++m) store(t.out[m] + (kVectors - 1) * kLanes, sums[m][kVectors - 1]);
        return;
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) store_some(t.out[m] + (kVectors - 1) * kLanes, sums[m][kVectors - 1], t.last);
}

// sums[m][.] += a[m] * b[.] over rows x columns pixels: a block of a weight gradient.
struct Outer {
    const float* a;
    long a_row, a_step;
    const float* b;
    long b_row, b_step;
    long rows, columns;
    float* sums;
    long pitch;  // floats between the sums of one m and the next
};

template <int kRows, int kVectors>
void outer(const Outer& o) {
    vec sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) sums[m][v] = vec{};
    for (long i = 0; i < o.rows; ++i) {
        const float *a = o.a + i * o.a_row, *b = o.b + i * o.b_row;
        for (long j = 0; j < o.columns; ++j, a += o.a_step, b += o.b_step) {
            vec right[kVectors];
#pragma GCC unroll 16
            for (int v = 0; v < kVectors; ++v) right[v] = load(b + v * kLanes);
#pragma GCC unroll 16
            for (int m = 0; m < kRows; ++m) {
                const vec x = splat(a[m]);
#pragma GCC unroll 16
                for (int v = 0; v < kVectors; ++v) sums[m][v] += x * right[v];
            }
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) {
            float* sum = o.sums + m * o.pitch + v * kLanes;
            store(sum, load(sum) + sums[m][v]);
        }
}

// tile<rows, vectors> and outer<rows, vectors> for every size that fits the registers.
typedef void (*TileFunction)(const Tile&);
typedef void (*OuterFunction)(const Outer&);

struct Functions {
    TileFunction tile[kMaxVectors + 1][kRowSlots + 1];
    OuterFunction outer[kMaxVectors + 1][kRowSlots + 1];
};

template <int kVectors, int kRows>
constexpr void fill(Functions& functions) {
    if constexpr (kRows > 0) {
        functions.tile[kVectors][kRows] = tile<kRows, kVectors>;
        functions.outer[kVectors][kRows] = outer<kRows, kVectors>;
        fill<kVectors, kRows - 1>(functions);
    }
}

template <int kVectors>
constexpr void fill_all(Functions& functions) {
    if constexpr (kVectors > 0) {
        fill<kVectors, kMaxRows[kVectors]>(functions);
        fill_all<kVectors - 1>(functions);
    }
}

constexpr Functions all_functions() {
    Functions functions{};
    fill_all<kMaxVectors>(functions);
    return functions;
}

// Made by the compiler: code that ran at start-up would meet processors without these instructions.
constexpr Functions kFunctions = all_functions();

// Splits `total` into as few parts of at most `most` as there can be, alike in size: the size of part `index`.
inline long parts_of(long total, long most) { return divide_up(total, most); }
inline long part_start(long total, long parts, long index) { return total * index / parts; }
