// One pass over memory: activations, sums, losses and the optimizers' updates.

// Numbers handed out at a time: a piece that fits the first-level cache. Sums are made piece by piece, so that they don't
// depend on the number of threads.
constexpr long kPiece = 4096;

template <class F>
void for_pieces(int threads, long count, F&& body) {
    parallel_for(count < 4 * kPiece ? 1 : threads, divide_up(count, kPiece), [&](long piece) {
        const long first = piece * kPiece;
        body(first, smaller(count, first + kPiece));
    });
}

void activate_all(const float* x, float* y, long count, Activation activation, int threads) {
    for_pieces(threads, count, [&](long i, long end) {
        for (; i + kLanes <= end; i += kLanes) store(y + i, activate(load(x + i), activation));
        for (; i < end; ++i) y[i] = activate(splat(x[i]), activation)[0];
    });
}

void deactivate_all(const float* gy, const float* y, float* gx, long count, Activation activation, int threads) {
    for_pieces(threads, count, [&](long i, long end) {
        for (; i + kLanes <= end; i += kLanes) store(gx + i, deactivate(load(gy + i), load(y + i), activation));
        for (; i < end; ++i) gx[i] = deactivate(gy[i], y[i], activation);
    });
}

void add_all(const float* a, const float* b, float* sum, long count, int threads) {
    for_pieces(threads, count, [&](long i, long end) {
        for (; i + kLanes <= end; i += kLanes) store(sum + i, load(a + i) + load(b + i));
        for (; i < end; ++i) sum[i] = a[i] + b[i];
    });
}

void zero_all(float* x, long count, int threads) {
    for_pieces(threads, count, [&](long i, long end) { __builtin_memset(x + i, 0, (end - i) * sizeof(float)); });
}

// p = p - lr * v, where g = gradient + decay * p; v = momentum * v + (1 - dampening) * g (v = g at first).
void sgd(const SgdTensors& t, const Sgd& s, int threads) {
    const bool moves = t.velocity;
    for_pieces(threads, t.count, [&](long i, long end) {
        for (; i < end; ++i) {
            const float g = t.gradient[i] + s.decay * t.value[i];
            if (!moves) {
                t.value[i] -= s.rate * g;
                continue;
            }
            const float v = t.first ? g : s.momentum * t.velocity[i] + s.fresh * g;
            t.velocity[i] = v;
            t.value[i] -= s.rate * (s.nesterov ? g + s.momentum * v : v);
        }
    });
}

// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p = keep * p - rate * m / (sqrt(v) * scale + eps).
void adam(const AdamTensors& t, const Adam& a, int threads) {
    for_pieces(threads, t.count, [&](long i, long end) {
        for (; i < end; ++i) {
            const float g = t.gradient[i] + a.decay * t.value[i];
            const float m = t.mean[i] + a.fresh1 * (g - t.mean[i]);
            const float v = a.beta2 * t.square[i] + a.fresh2 * g * g;
            t.mean[i] = m;
            t.square[i] = v;
            t.value[i] = a.keep * t.value[i] - a.rate * m / (__builtin_sqrtf(v) * a.scale + a.epsilon);
        }
    });
}

inline bool has_dense_rows(const Image& image) { return image.sc == 1 && image.sw == image.c; }

// One row of an image where it lies if its pixels are dense, else staged.
inline const float* take_row(const Image& image, long n, long y, float* buffer) {
    if (has_dense_rows(image)) return image.data + n * image.sn + y * image.sh;
    stage({image, {}, {}}, {n, 0, image.c, y, 1, 1, 0, image.w, 1}, buffer);
    return buffer;
}

// Rows of two images, one after the other; body(row index, a's row, b's row, floats).
template <class F>
void for_rows(const Image& a, const Image& b, int threads, F&& body) {
    const long rows = a.n * a.h, floats = a.w * a.c;
    const long parts = rows * floats < 4 * kPiece ? 1 : smaller(rows, 8L * larger(1, threads));
    const long staged = has_dense_rows(a) && has_dense_rows(b) ? 0 : floats;
    float* memory = static_cast<float*>(scratch(1, 8.0 * parts * staged));
    parallel_for(threads, parts, [&](long part) {
        float* own = memory + part * 2 * staged;
        for (long row = part_start(rows, parts, part); row < part_start(rows, parts, part + 1); ++row)
            body(row, take_row(a, row / a.h, row % a.h, own), take_row(b, row / a.h, row % a.h, own + staged), floats);
    });
}

// a + b, into dense rows.
void add_images(const Image& a, const Image& b, const Image& out, int threads) {
    for_rows(a, b, threads, [&](long row, const float* p, const float* q, long count) {
        float* to = out.data + row / out.h * out.sn + row % out.h * out.sh;
        long i = 0;
        for (; i + kLanes <= count; i += kLanes) store(to + i, load(p + i) + load(q + i));
        for (; i < count; ++i) to[i] = p[i] + q[i];
    });
}

struct Square {
    template <class T>
    T operator()(T d) const {
        return d * d;
    }
};

struct Size {
    vec operator()(vec d) const { return d < 0 ? -d : d; }
    double operator()(double d) const { return d < 0 ? -d : d; }
};

// sums[row] = sum of term(prediction - target) over a row: of pieces in single precision, of their sums in double.
template <class Term>
void row_errors(const Image& prediction, const Image& target, double* sums, int threads) {
    const Term term;
    for_rows(prediction, target, threads, [&](long row, const float* p, const float* t, long count) {
        double sum = 0;
        long i = 0;
        while (i + kLanes <= count) {
            // No more than 64 of a lane in single precision: a row may be a whole image.
            vec total{};
            for (const long end = smaller(i + 64 * kLanes, count); i + kLanes <= end; i += kLanes)
                total += term(load(p + i) - load(t + i));
            for (int k = 0; k < kLanes; ++k) sum += total[k];
        }
        for (; i < count; ++i) sum += term(double(p[i]) - double(t[i]));
        sums[row] = sum;
    });
}

template <class Term>
double all_errors(const Image& prediction, const Image& target, int threads) {
    const long rows = prediction.n * prediction.h;
    double* sums = static_cast<double*>(scratch(0, 8.0 * rows));
    row_errors<Term>(prediction, target, sums, threads);
    double sum = 0;
    for (long row = 0; row < rows; ++row) sum += sums[row];
    return sum;
}

// sum (prediction - target)^2
double squared_error(const Image& prediction, const Image& target, int threads) {
    return all_errors<Square>(prediction, target, threads);
}

// sum |prediction - target|
double absolute_error(const Image& prediction, const Image& target, int threads) {
    return all_errors<Size>(prediction, target, threads);
}

// each[n] = sum (prediction - target)^2 over one of `images`, which have as many rows each.
void image_errors(const Image& prediction, const Image& target, long images, float* each, int threads) {
    const long rows = prediction.n * prediction.h;
    double* sums = static_cast<double*>(scratch(0, 8.0 * rows));
    row_errors<Square>(prediction, target, sums, threads);
    for (long n = 0; n < images; ++n) {
        double sum = 0;
        for (long row = rows / images * n; row < rows / images * (n + 1); ++row) sum += sums[row];
        each[n] = float(sum);
    }
}

// factors[n] * (prediction - target), into dense rows.
void image_errors_gradient(const Image& prediction, const Image& target, long images, const float* factors,
                           const Image& out, int threads) {
    const long rows = prediction.n * prediction.h / images;
    for_rows(prediction, target, threads, [&](long row, const float* p, const float* t, long count) {
        float* to = out.data + row / out.h * out.sn + row % out.h * out.sh;
        const float scale = factors[row / rows];
        long i = 0;
        for (; i + kLanes <= count; i += kLanes) store(to + i, scale * (load(p + i) - load(t + i)));
        for (; i < count; ++i) to[i] = scale * (p[i] - t[i]);
    });
}

// scale * sign(prediction - target), 0 where they are equal, into dense rows.
void absolute_error_gradient(const Image& prediction, const Image& target, float scale, const Image& out, int threads) {
    const vec up = splat(scale), down = splat(-scale), none{};
    for_rows(prediction, target, threads, [&](long row, const float* p, const float* t, long count) {
        float* to = out.data + row / out.h * out.sn + row % out.h * out.sh;
        long i = 0;
        for (; i + kLanes <= count; i += kLanes) {
            const vec d = load(p + i) - load(t + i);
            store(to + i, d > 0 ? up : (d < 0 ? down : none));
        }
        for (; i < count; ++i) to[i] = p[i] > t[i] ? scale : (p[i] < t[i] ? -scale : 0.0f);
    });
}

// sum x^2: of pieces in single precision, of their sums in double.
double sum_of_squares(const float* x, long count, int threads) {
    const long pieces = divide_up(count, kPiece);
    double* sums = static_cast<double*>(scratch(0, 8.0 * pieces));
    for_pieces(threads, count, [&](long i, long end) {
        const long piece = i / kPiece;
        double sum = 0;
        while (i + kLanes <= end) {
            vec total{};
            for (const long stop = smaller(i + 64 * kLanes, end); i + kLanes <= stop; i += kLanes)
                total += load(x + i) * load(x + i);
            for (int k = 0; k < kLanes; ++k) sum += total[k];
        }
        for (; i < end; ++i) sum += double(x[i]) * x[i];
        sums[piece] = sum;
    });
    double sum = 0;
    for (long piece = 0; piece < pieces; ++piece) sum += sums[piece];
    return sum;
}

void multiply_all(float* x, long count, float factor, int threads) {
    for_pieces(threads, count, [&](long i, long end) {
        for (; i + kLanes <= end; i += kLanes) store(x + i, factor * load(x + i));
        for (; i < end; ++i) x[i] *= factor;
    });
}

// scale * (prediction - target), into dense rows.
void squared_error_gradient(const Image& prediction, const Image& target, float scale, const Image& out, int threads) {
    for_rows(prediction, target, threads, [&](long row, const float* p, const float* t, long count) {
        float* to = out.data + row / out.h * out.sn + row % out.h * out.sh;
        long i = 0;
        for (; i + kLanes <= count; i += kLanes) store(to + i, scale * (load(p + i) - load(t + i)));
        for (; i < count; ++i) to[i] = scale * (p[i] - t[i]);
    });
}
