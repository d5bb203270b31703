// Attention, head after head and some queries at a time: docs/kernels.md#attention.

constexpr float kNegligible = -80;  // the logarithm of a weight that no sum notices beside one of 1

// Where one head of one sample lies, and the sizes of its scratch memory.
struct Head {
    const Attention& of;
    long sample, head, padded_keys, padded_size, block;

    Head(const Attention& a, long index)
        : of(a),
          sample(index / a.heads),
          head(index % a.heads),
          padded_keys(round_up(a.sources, kLanes)),
          padded_size(round_up(a.size, kLanes)),
          block(larger(kRowSlots, smaller(48, 32768 / padded_keys))) {}

    template <class T>
    T* at(const Places<T>& x) const {
        return x.data + sample * x.sn + head * of.size;
    }
    float factor() const { return 1 / __builtin_sqrtf(float(of.size)); }
    // Keys that some of the queries before `last` may see, and those that this one may.
    long stop(long last) const { return of.causal ? smaller(last, of.sources) : of.sources; }
    // Of the masks and of what is kept, the row of a query.
    long row(long query) const { return ((sample * of.heads + head) * of.length + query) * of.sources; }
};

inline void copy_rows(const float* from, long pitch, long rows, long size, float factor, float* to, long padded) {
    for (long r = 0; r < rows; ++r, from += pitch, to += padded)
        for (long v = 0; v < padded; v += kLanes)
            store(to + v, load_lanes(from + v, 1, larger(0, size - v)) * splat(factor));
}

// -inf for the keys that the query may not look at; zeros that no key stands for are hidden, too.
inline void hide(const Head& h, long query, long seen, float* scores) {
    const Attention& a = h.of;
    const float nowhere = -__builtin_inff();
    const long row = a.each ? h.row(query) : query * a.sources;
    if (a.hidden)
        for (long s = 0; s < seen; ++s) scores[s] = a.hidden[row + s] ? nowhere : scores[s];
    if (a.added)
        for (long s = 0; s < seen; ++s) scores[s] += a.added[row + s];
    if (a.padding) {
        const uint8_t* padding = a.padding + h.sample * a.sources;
        for (long s = 0; s < seen; ++s) scores[s] = padding[s] ? nowhere : scores[s];
    }
    for (long s = seen; s < round_up(seen, kLanes); ++s) scores[s] = nowhere;
}

// e^(scores - top) in their place, 0 where that is negligible; returns their sum.
inline float raise(float* scores, long seen, float top) {
    vec total{};
    double sum = 0;
    for (long s = 0, group = 0; s < seen; s += kLanes) {
        const vec x = load(scores + s) - splat(top);
        const vec weight = x < splat(kNegligible) ? vec{} : exponential(x);
        store(scores + s, weight);
        total += weight;
        if (++group == 64) sum += sum_of(total), total = vec{}, group = 0;
    }
    return float(sum + sum_of(total));
}

inline float largest(const float* scores, long seen) {
    vec most = load(scores);
    for (long s = kLanes; s < seen; s += kLanes) {
        const vec x = load(scores + s);
        most = x > most ? x : most;
    }
    return largest_of(most);
}

inline void drop(const Head& h, long query, long seen, float* weights) {
    const uint8_t* keep = h.of.keep + h.row(query);
    for (long s = 0; s < seen; ++s) weights[s] = keep[s] ? weights[s] * h.of.scale : 0;
}

inline void clear(float* row, long first, long last) {
    for (long s = first; s < last; ++s) row[s] = 0;
}

// Calls body(index, scratch memory of the thread) for each of the items.
template <class F>
inline void for_items(long items, int threads, long floats, F&& body) {
    const long parts = smaller(larger(1, threads), items), each = round_up(floats, 16);
    float* memory = static_cast<float*>(scratch(1, 4.0 * each * parts));
    long next = 0;
    parallel_for(threads, parts, [&](long part) {
        for (long item; (item = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < items;)
            body(item, memory + part * each);
    });
}

void attention(const Attention& a, float* y, float* logs) {
    const Head any(a, 0);
    const long keys = any.padded_keys, wide = any.padded_size, block = any.block;
    const long heads = a.n * a.heads, blocks = divide_up(a.length, block);
    // Where there are few heads, each is shared out; whoever has a part of one lays its keys and values ready again.
    const long shares = heads >= 2 * a.threads ? 1 : smaller(blocks, divide_up(2L * a.threads, heads));
    const long floats = keys * a.size + a.sources * wide + block * (keys + 2 * wide);
    for_items(heads * shares, a.threads, floats, [&](long item, float* memory) {
        const Head h(a, item / shares);
        const long share = item % shares;
        const Panels k = Panels::of(memory, a.size, a.sources);
        const Panels v = Panels::of(memory + keys * a.size, a.sources, a.size);
        float *scores = v.data + a.sources * wide, *queries = scores + block * keys, *out = queries + block * wide;
        fill_columns(k, h.at(a.k), a.k.sl, a.sources);
        fill_rows(v, h.at(a.v), a.v.sl, a.size);
        for (long b = part_start(blocks, shares, share); b < part_start(blocks, shares, share + 1); ++b) {
            const long first = b * block, last = smaller(a.length, first + block), rows = last - first;
            const long stop = h.stop(last);
            copy_rows(h.at(a.q) + first * a.q.sl, a.q.sl, rows, a.size, h.factor(), queries, wide);
            multiply(queries, wide, rows, k, a.size, stop, scores, keys);
            float totals[48];
            for (long r = 0; r < rows; ++r) {
                float* row = scores + r * keys;
                const long query = first + r, seen = h.stop(query + 1);
                hide(h, query, seen, row);
                float top = largest(row, seen);
                if (top == -__builtin_inff()) top = 0;  // a query that sees nothing
                const float total = raise(row, seen, top);
                totals[r] = total == 0 ? 1 : total;
                logs[(h.sample * a.heads + h.head) * a.length + query] = top + __builtin_logf(totals[r]);
                if (a.keep) drop(h, query, seen, row);
                clear(row, seen, stop);
            }
            multiply(scores, keys, rows, v, stop, a.size, out, wide);
            for (long r = 0; r < rows; ++r) {
                float* to = y + (h.sample * a.length + first + r) * a.heads * a.size + h.head * a.size;
                for_vectors(a.size, [&](long i, long count) {
                    store_some(to + i, load(out + r * wide + i) / splat(totals[r]), int(count));
                });
            }
        }
    });
}

// With P the weights and gP = gy v^T: gv = P^T gy, gs = P (gP - sum gy y), gq = gs k, gk = gs^T q.
void attention_gradient(const Attention& a, const AttentionGradient& g) {
    const Head any(a, 0);
    const long keys = any.padded_keys, wide = any.padded_size, block = any.block;
    const long floats =
        2 * keys * a.size + 3 * a.sources * wide + 2 * a.length * wide + 3 * block * keys + block * wide;
    for_items(a.n * a.heads, a.threads, floats, [&](long item, float* memory) {
        const Head h(a, item);
        const Panels k = Panels::of(memory, a.size, a.sources);
        const Panels v = Panels::of(k.data + keys * a.size, a.size, a.sources);
        const Panels across = Panels::of(v.data + keys * a.size, a.sources, a.size);  // the keys once more
        float *queries = across.data + a.sources * wide, *upstream = queries + a.length * wide;
        float *gk = upstream + a.length * wide, *gv = gk + a.sources * wide;
        float *weights = gv + a.sources * wide, *slopes = weights + block * keys, *kept = slopes + block * keys;
        float* out = kept + block * keys;
        fill_columns(k, h.at(a.k), a.k.sl, a.sources);
        fill_columns(v, h.at(a.v), a.v.sl, a.sources);
        fill_rows(across, h.at(a.k), a.k.sl, a.size);
        copy_rows(h.at(a.q), a.q.sl, a.length, a.size, h.factor(), queries, wide);
        copy_rows(h.at(g.gy), g.gy.sl, a.length, a.size, 1, upstream, wide);
        clear(gk, 0, 2 * a.sources * wide);
        for (long first = 0; first < a.length; first += block) {
            const long last = smaller(a.length, first + block), rows = last - first, stop = h.stop(last);
            multiply(queries + first * wide, wide, rows, k, a.size, stop, weights, keys);
            multiply(upstream + first * wide, wide, rows, v, a.size, stop, slopes, keys);
            for (long r = 0; r < rows; ++r) {
                float *p = weights + r * keys, *s = slopes + r * keys;
                const long query = first + r, seen = h.stop(query + 1);
                const float* y = h.at(g.y) + query * g.y.sl;
                const float mean = row_sum(a.size, [&](long i, long count) {
                    return load_some(y + i, count) * load(upstream + query * wide + i);
                });
                hide(h, query, seen, p);
                raise(p, seen, g.logs[(h.sample * a.heads + h.head) * a.length + query]);
                if (a.keep) {
                    __builtin_memcpy(kept + r * keys, p, seen * sizeof(float));
                    drop(h, query, seen, kept + r * keys);
                    drop(h, query, seen, s);
                    clear(kept + r * keys, seen, stop);
                }
                for (long i = 0; i < seen; i += kLanes) store(s + i, load(p + i) * (load(s + i) - splat(mean)));
                clear(p, seen, stop);
                clear(s, seen, stop);
            }
            add_product(a.keep ? kept : weights, keys, rows, stop, upstream + first * wide, wide, gv);
            add_product(slopes, keys, rows, stop, queries + first * wide, wide, gk);
            multiply(slopes, keys, rows, across, stop, a.size, out, wide);
            for (long r = 0; r < rows; ++r) {
                float* to = h.at(g.gq) + (first + r) * g.gq.sl;
                for_vectors(a.size, [&](long i, long count) {
                    store_some(to + i, load(out + r * wide + i) * splat(h.factor()), int(count));
                });
            }
        }
        for (long s = 0; s < a.sources; ++s) {
            float *to_k = h.at(g.gk) + s * g.gk.sl, *to_v = h.at(g.gv) + s * g.gv.sl;
            for_vectors(a.size, [&](long i, long count) {
                store_some(to_k + i, load(gk + s * wide + i), int(count));
                store_some(to_v + i, load(gv + s * wide + i), int(count));
            });
        }
    });
}
