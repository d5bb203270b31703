// What works on rows, the vectors along a tensor's last dimension: normalization of each, scales and shifts, cross-entropy.

// Values that lie side by side, `count` of them at most; zeros after the last.
inline vec load_some(const float* p, long count) { return count >= kLanes ? load(p) : load_lanes(p, 1, count); }

inline vec first_lanes(vec x, long count) {
    for (long i = count; i < kLanes; ++i) x[i] = 0;
    return x;
}

inline float sum_of(vec x) {
    float lanes[kLanes];
    store(lanes, x);
    for (int half = kLanes / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    return lanes[0];
}

inline float largest_of(vec x) {
    float most = x[0];
    for (int i = 1; i < kLanes; ++i) most = x[i] > most ? x[i] : most;
    return most;
}

// The sum over a row of value(i, count), of lanes i to i + count - 1 and zero in those after them. No more than 64 of a
// lane in single precision: a row may be long.
template <class F>
inline float row_sum(long size, F&& value) {
    double sum = 0;
    for (long i = 0; i < size;) {
        vec total{};
        const long end = smaller(size, i + 64 * kLanes);
        for (; i + kLanes <= end; i += kLanes) total += value(i, long(kLanes));
        if (i < end) total += value(i, end - i);
        i = end;
        sum += sum_of(total);
    }
    return float(sum);
}

// body(i, count) for each vector of a row, the last of which may have fewer lanes.
template <class F>
inline void for_vectors(long size, F&& body) {
    long i = 0;
    for (; i + kLanes <= size; i += kLanes) body(i, long(kLanes));
    if (i < size) body(i, size - i);
}

// body(row) for each of the rows, in parts of about `kPiece` floats.
template <class F>
inline void for_all_rows(long rows, long size, int threads, F&& body) {
    const long step = larger(1, kPiece / larger(1, size));
    parallel_for(rows * size < 4 * kPiece ? 1 : threads, divide_up(rows, step), [&](long part) {
        for (long row = part * step; row < smaller(rows, (part + 1) * step); ++row) body(row);
    });
}

// xhat = (x - mean) * scale, scale = 1 / sqrt(mean((x - mean)^2) + eps) of each row; without `centre` mean is 0.
void standardize(const RowSizes& r, const float* x, float eps, bool centre, float* xhat, float* scale) {
    for_all_rows(r.rows, r.size, r.threads, [&](long row) {
        const float* from = x + row * r.size;
        float* to = xhat + row * r.size;
        float mean = 0;
        if (centre) mean = row_sum(r.size, [&](long i, long count) { return load_some(from + i, count); }) / r.size;
        const float square = row_sum(r.size, [&](long i, long count) {
            const vec d = load_some(from + i, count) - splat(mean);
            return count < kLanes ? first_lanes(d * d, count) : d * d;
        });
        const float factor = 1 / __builtin_sqrtf(square / r.size + eps);
        scale[row] = factor;
        for_vectors(r.size, [&](long i, long count) {
            store_some(to + i, (load_some(from + i, count) - splat(mean)) * splat(factor), int(count));
        });
    });
}

// gx = scale * (g - mean(g) - xhat * mean(g * xhat)); without `centre` there is no mean(g).
void standardize_gradient(const RowSizes& r, const float* g, const float* xhat, const float* scale, bool centre,
                          float* gx) {
    for_all_rows(r.rows, r.size, r.threads, [&](long row) {
        const float *from = g + row * r.size, *at = xhat + row * r.size;
        float* to = gx + row * r.size;
        float mean = 0;
        if (centre) mean = row_sum(r.size, [&](long i, long count) { return load_some(from + i, count); }) / r.size;
        const float slope =
            row_sum(r.size, [&](long i, long count) { return load_some(from + i, count) * load_some(at + i, count); }) /
            r.size;
        const float factor = scale[row];
        for_vectors(r.size, [&](long i, long count) {
            const vec moved = load_some(from + i, count) - splat(mean) - load_some(at + i, count) * splat(slope);
            store_some(to + i, moved * splat(factor), int(count));
        });
    });
}

// y = weight * x + bias, along each row; without a weight that is 1, without a bias 0.
void scale_shift(const RowSizes& r, const float* x, const float* weight, const float* bias, float* y) {
    for_all_rows(r.rows, r.size, r.threads, [&](long row) {
        const float* from = x + row * r.size;
        float* to = y + row * r.size;
        for_vectors(r.size, [&](long i, long count) {
            const vec at = load_some(from + i, count), product = weight ? at * load_some(weight + i, count) : at;
            store_some(to + i, bias ? product + load_some(bias + i, count) : product, int(count));
        });
    });
}

// Rows whose sums are made in single precision; the sums of these, in double.
constexpr long kSummedRows = 128;

// gx = weight * gy, gweight = sum gy * x and gbias = sum gy, over all rows.
void scale_shift_gradient(const RowSizes& r, const float* gy, const float* x, const float* weight, float* gx,
                          float* gweight, float* gbias) {
    const long parts = divide_up(r.rows, kSummedRows);
    float* sums = static_cast<float*>(scratch(0, 8.0 * parts * r.size));
    parallel_for(r.rows * r.size < 4 * kPiece ? 1 : r.threads, parts, [&](long part) {
        float *slopes = sums + part * 2 * r.size, *shifts = slopes + r.size;
        __builtin_memset(slopes, 0, 2 * r.size * sizeof(float));
        for (long row = part * kSummedRows; row < smaller(r.rows, (part + 1) * kSummedRows); ++row) {
            const float *from = gy + row * r.size, *at = x + row * r.size;
            float* to = gx + row * r.size;
            for_vectors(r.size, [&](long i, long count) {
                const vec g = load_some(from + i, count);
                store_some(to + i, g * load_some(weight + i, count), int(count));
                const vec slope = load_some(slopes + i, count) + g * load_some(at + i, count);
                store_some(slopes + i, slope, int(count));
                store_some(shifts + i, load_some(shifts + i, count) + g, int(count));
            });
        }
    });
    for (long i = 0; i < r.size; ++i) {
        double slope = 0, shift = 0;
        for (long part = 0; part < parts; ++part) {
            slope += sums[part * 2 * r.size + i];
            shift += sums[part * 2 * r.size + r.size + i];
        }
        gweight[i] = float(slope), gbias[i] = float(shift);
    }
}

// Columns whose sums a thread makes at a time.
constexpr long kSummedColumns = 256;

// The sum of all rows: of some of them in single precision, and of these sums in double.
void sum_rows(const RowSizes& r, const float* x, float* sums) {
    const int threads = r.rows * r.size < 4 * kPiece ? 1 : r.threads;
    parallel_for(threads, divide_up(r.size, kSummedColumns), [&](long block) {
        const long first = block * kSummedColumns, size = smaller(r.size - first, kSummedColumns);
        float some[kSummedColumns];
        double all[kSummedColumns] = {};
        for (long start = 0; start < r.rows; start += kSummedRows) {
            __builtin_memset(some, 0, sizeof some);
            for (long row = start; row < smaller(r.rows, start + kSummedRows); ++row)
                for_vectors(size, [&](long i, long count) {
                    store(some + i, load(some + i) + load_some(x + row * r.size + first + i, count));
                });
            for (long i = 0; i < size; ++i) all[i] += some[i];
        }
        for (long i = 0; i < size; ++i) sums[first + i] = float(all[i]);
    });
}

// y = the rows of the table that the index names, one after the other.
void pick_rows(const RowSizes& r, const int64_t* index, const float* table, float* y) {
    for_all_rows(r.rows, r.size, r.threads, [&](long row) {
        __builtin_memcpy(y + row * r.size, table + index[row] * r.size, r.size * sizeof(float));
    });
}

// sums[t] = the sum of the rows whose index is t, in their order, of `targets` sums. Each part has some of the sums for
// itself, whichever thread takes it.
void add_to_rows(const RowSizes& r, const int64_t* index, const float* x, long targets, float* sums) {
    const long parts = r.rows * r.size < 4 * kPiece ? 1 : larger(1, smaller(r.threads, targets));
    parallel_for(int(parts), parts, [&](long part) {
        for (long target = part; target < targets; target += parts)
            __builtin_memset(sums + target * r.size, 0, r.size * sizeof(float));
        for (long row = 0; row < r.rows; ++row) {
            if (index[row] % parts != part) continue;
            const float* from = x + row * r.size;
            float* to = sums + index[row] * r.size;
            for_vectors(r.size, [&](long i, long count) {
                store_some(to + i, load_some(to + i, count) + load_some(from + i, count), int(count));
            });
        }
    });
}

// logs = log softmax of each row; values = -logs at the target and share = 1, both 0 where the target is `ignored`.
void cross_entropy(const RowSizes& r, const float* logits, const int64_t* target, long ignored, float* values,
                   float* logs, float* share) {
    for_all_rows(r.rows, r.size, r.threads, [&](long row) {
        const float* from = logits + row * r.size;
        float* to = logs + row * r.size;
        float most = from[0];
        vec largest = splat(most);
        long i = 0;
        for (; i + kLanes <= r.size; i += kLanes) {
            const vec x = load(from + i);
            largest = x > largest ? x : largest;
        }
        most = largest_of(largest);
        for (; i < r.size; ++i) most = from[i] > most ? from[i] : most;
        const float sum = row_sum(r.size, [&](long i, long count) {
            const vec e = power(load_some(from + i, count) - splat(most));
            return count < kLanes ? first_lanes(e, count) : e;
        });
        const float log = __builtin_logf(sum);
        for_vectors(r.size, [&](long i, long count) {
            store_some(to + i, load_some(from + i, count) - splat(most) - splat(log), int(count));
        });
        const bool counts = target[row] != ignored;
        share[row] = counts ? 1.f : 0.f;
        values[row] = counts ? -to[target[row]] : 0.f;
    });
}

// glogits = scale * share * (softmax - 1 at the target).
void cross_entropy_gradient(const RowSizes& r, const float* logs, const int64_t* target, const float* share,
                            float scale, float* glogits) {
    for_all_rows(r.rows, r.size, r.threads, [&](long row) {
        const float* from = logs + row * r.size;
        float* to = glogits + row * r.size;
        const float factor = scale * share[row];
        for_vectors(r.size, [&](long i, long count) {
            store_some(to + i, power(load_some(from + i, count)) * splat(factor), int(count));
        });
        if (share[row] != 0) to[target[row]] -= factor;
    });
}
