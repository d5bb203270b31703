// Products of matrices, and what they are made of: docs/kernels.md#rows. Attention is made of them, too.

// A matrix (depth, width) in the order in which `tile` reads it: of each block of columns all rows, zeros after the last.
struct Panels {
    float* data;
    long depth, vectors, blocks;

    static Panels of(float* data, long depth, long width) {
        const long vectors = divide_up(width, kLanes);
        return {data, depth, vectors, parts_of(vectors, kMaxVectors)};
    }
    long start(long block) const { return part_start(vectors, blocks, block); }
    long width(long block) const { return start(block + 1) - start(block); }
    float* at(long block) const { return data + depth * start(block) * kLanes; }
};

// A block of the rows of x, which end after `size` values: `depth` rows of `width`, zeros after the last.
inline void fill_rows(float* to, long width, long depth, const float* x, long pitch, long size) {
    for (long k = 0; k < depth; ++k, x += pitch, to += width)
        for (long v = 0; v < width; v += kLanes) store(to + v, load_some(x + v, larger(0, size - v)));
}

// The rows of x, `size` values each, as the rows of the matrix; of one block.
inline void fill_rows(const Panels& p, long block, const float* x, long pitch, long size) {
    const long first = p.start(block) * kLanes;
    fill_rows(p.at(block), p.width(block) * kLanes, p.depth, x + first, pitch, size - first);
}

// The rows of x, `count` of them, as the columns of the matrix; of one block.
inline void fill_columns(const Panels& p, long block, const float* x, long pitch, long step, long count) {
    const long first = p.start(block) * kLanes, width = p.width(block) * kLanes;
    float* to = p.at(block);
    for (long v = 0; v < width; v += kLanes) {
        const float* rows = x + (first + v) * pitch;
        const long there = larger(0, count - first - v);
        for (long k = 0; k < p.depth; ++k) store(to + k * width + v, load_lanes(rows + k * step, pitch, there));
    }
}

inline void fill_rows(const Panels& p, const float* x, long pitch, long size) {
    for (long block = 0; block < p.blocks; ++block) fill_rows(p, block, x, pitch, size);
}

inline void fill_columns(const Panels& p, const float* x, long pitch, long count) {
    for (long block = 0; block < p.blocks; ++block) fill_columns(p, block, x, pitch, 1, count);
}

// Of `rows` rows of a, `pitch` apart, the product with the first `depth` rows of one block of the matrix, and `bias` added.
// Where the block's last vector ends in zeros, `last` of its lanes are stored.
inline void multiply_block(const float* a, long pitch, long rows, const Panels& p, long block, long depth,
                           const float* bias, float* out, long out_pitch, int last) {
    const long lengths[1] = {depth}, vectors = p.width(block), tiles = parts_of(rows, kMaxRows[vectors]);
    const float* from[kRowSlots];
    float* to[kRowSlots];
    const Tile t{from, lengths, 1, p.at(block), bias, {}, to, last};
    for (long index = 0; index < tiles; ++index) {
        const long first = part_start(rows, tiles, index), size = part_start(rows, tiles, index + 1) - first;
        for (long m = 0; m < size; ++m) {
            from[m] = a + (first + m) * pitch;
            to[m] = out + (first + m) * out_pitch + p.start(block) * kLanes;
        }
        kFunctions.tile[vectors][size](t);
    }
}

// out = a times the first `depth` rows of the matrix, of blocks that begin before column `columns`; whole vectors are
// stored. a has `rows` rows, `pitch` apart.
inline void multiply(const float* a, long pitch, long rows, const Panels& p, long depth, long columns, float* out,
                     long out_pitch) {
    alignas(64) static constexpr float zeros[kMaxVectors * kLanes] = {};
    for (long block = 0; block < p.blocks && p.start(block) * kLanes < columns; ++block)
        multiply_block(a, pitch, rows, p, block, depth, zeros, out, out_pitch, kLanes);
}

// sums (columns, vectors of one block) += a^T b, where a has `rows` rows of `columns` values and b as many of the block's.
inline void add_product_block(const float* a, long pitch, long rows, long columns, const float* b, long b_pitch,
                              long vectors, float* sums, long sums_pitch) {
    const long tiles = parts_of(columns, kMaxRows[vectors]);
    for (long index = 0; index < tiles; ++index) {
        const long start = part_start(columns, tiles, index), size = part_start(columns, tiles, index + 1) - start;
        const Outer o{a + start, 0, pitch, b, 0, b_pitch, 1, rows, sums + start * sums_pitch, sums_pitch};
        kFunctions.outer[vectors][size](o);
    }
}

// sums (columns, padded) += a^T b, where a has `rows` rows of `columns` values and b as many of `padded`.
inline void add_product(const float* a, long pitch, long rows, long columns, const float* b, long padded, float* sums) {
    const long vectors = padded / kLanes, blocks = parts_of(vectors, kMaxVectors);
    for (long block = 0; block < blocks; ++block) {
        const long first = part_start(vectors, blocks, block), width = part_start(vectors, blocks, block + 1) - first;
        add_product_block(a, pitch, rows, columns, b + first * kLanes, padded, width, sums + first * kLanes, padded);
    }
}

// Rows that a thread takes at a time: so that they stay in the first-level cache while block after block multiplies them.
inline long rows_at_once(long rows, long depth, int threads) {
    const long fitting = larger(kRowSlots, smaller(8 * kRowSlots, kPiece / depth));
    return smaller(fitting, larger(1, divide_up(rows, larger(1, threads))));
}

void product(const Product& p) {
    const long padded = round_up(p.outputs, kLanes);
    float* bias = static_cast<float*>(scratch(0, 4.0 * padded * (p.depth + 1)));
    for (long o = 0; o < padded; ++o) bias[o] = p.bias && o < p.outputs ? p.bias[o] : 0;
    const Panels weights = Panels::of(bias + padded, p.depth, p.outputs);
    parallel_for(p.depth * padded < kPiece ? 1 : p.threads, weights.blocks, [&](long block) {
        if (p.output_step == 1)
            fill_rows(weights, block, p.weight, p.depth_step, p.outputs);
        else
            fill_columns(weights, block, p.weight, p.output_step, p.depth_step, p.outputs);
    });
    const long rows = rows_at_once(p.rows, p.depth, p.threads), bands = divide_up(p.rows, rows);
    // Where there are few rows, their blocks are shared out.
    const long shares = smaller(weights.blocks, divide_up(larger(1, p.threads), bands));
    parallel_for(p.rows * p.depth * padded < 8 * kPiece ? 1 : p.threads, bands * shares, [&](long item) {
        const long band = item / shares, share = item % shares;
        const long first = band * rows, count = smaller(p.rows, first + rows) - first;
        for (long block = part_start(weights.blocks, shares, share);
             block < part_start(weights.blocks, shares, share + 1); ++block) {
            const long left = p.outputs - (weights.start(block + 1) - 1) * kLanes;
            multiply_block(p.x + first * p.pitch, p.pitch, count, weights, block, p.depth,
                           bias + weights.start(block) * kLanes, p.y + first * p.outputs, p.outputs,
                           int(smaller(kLanes, left)));
        }
    });
}

// The sums of `rows` rows, column by column.
inline void add_rows_up(const float* x, long pitch, long rows, long size, float* sums) {
    for (long row = 0; row < rows; ++row, x += pitch)
        for_vectors(size, [&](long i, long count) {
            store_some(sums + i, load_some(sums + i, count) + load_some(x + i, count), int(count));
        });
}

// Rows whose outer products are added while the sums of a tile stay in registers.
constexpr long kBand = 128;

// sums (a.size, padded) += a^T b and bias += the sums of gy, over these rows. `panel` holds one block of b: its rows lie far
// apart, and as often as not so that they would drive each other out of the cache.
inline void add_gradients(const ProductGradient& g, const Rows& a, const Rows& b, long first, long last, float* panel,
                          float* sums, float* bias) {
    const long padded = round_up(b.size, kLanes), vectors = padded / kLanes, blocks = parts_of(vectors, kMaxVectors);
    for (long start = first; start < last; start += kBand) {
        const long rows = smaller(last, start + kBand) - start;
        for (long block = 0; block < blocks; ++block) {
            const long column = part_start(vectors, blocks, block) * kLanes;
            const long width = part_start(vectors, blocks, block + 1) * kLanes - column;
            fill_rows(panel, width, rows, b.data + start * b.pitch + column, b.pitch, b.size - column);
            add_product_block(a.data + start * a.pitch, a.pitch, rows, a.size, panel, width, width / kLanes,
                              sums + column, padded);
        }
        add_rows_up(g.gy.data + start * g.gy.pitch, g.gy.pitch, rows, g.gy.size, bias);
    }
}

void product_gradient(const ProductGradient& g) {
    // What is cut into vectors is the one of the two that fills them better.
    const bool turned = g.x.size * round_up(g.gy.size, kLanes) < g.gy.size * round_up(g.x.size, kLanes);
    const Rows &a = turned ? g.x : g.gy, &b = turned ? g.gy : g.x;
    const long padded = round_up(b.size, kLanes), weights = a.size * padded;
    const long parts = smaller(larger(1, g.threads), divide_up(g.rows, kRowSlots));
    // Of each part: the sums of products and of gy. What a part adds up, and in which order, depends on the number of parts
    // only, so that results repeat bit for bit.
    const long floats = round_up(weights + g.gy.size, 16), panel = kBand * kMaxVectors * kLanes;
    float* sums = static_cast<float*>(scratch(0, 4.0 * floats * parts));
    float* panels = static_cast<float*>(scratch(1, 4.0 * panel * parts));
    parallel_for(g.threads, parts, [&](long part) {
        float* own = sums + part * floats;
        __builtin_memset(own, 0, floats * sizeof(float));
        add_gradients(g, a, b, part_start(g.rows, parts, part), part_start(g.rows, parts, part + 1),
                      panels + part * panel, own, own + weights);
    });
    parallel_for(weights * parts < 8 * kPiece ? 1 : g.threads, divide_up(a.size, kRowSlots), [&](long piece) {
        for (long m = piece * kRowSlots; m < smaller(a.size, (piece + 1) * kRowSlots); ++m)
            for_vectors(b.size, [&](long i, long count) {
                vec sum = load(sums + m * padded + i);
                for (long part = 1; part < parts; ++part) sum += load(sums + part * floats + m * padded + i);
                if (!turned) return store_some(g.gweight + m * b.size + i, sum, int(count));
                for (long lane = 0; lane < count; ++lane) g.gweight[(i + lane) * a.size + m] = sum[lane];
            });
    });
    for (long o = 0; o < g.gy.size; ++o) {
        float sum = 0;
        for (long part = 0; part < parts; ++part) sum += sums[part * floats + weights + o];
        g.gbias[o] = sum;
    }
}
