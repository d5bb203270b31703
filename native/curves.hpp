// Smooth activations whose gradient is written in x: GELU, its approximation by a tanh, and SiLU.

// e^x, but 0 where that is too small to be a normal number.
inline vec power(vec x) { return x < splat(-87.f) ? vec{} : exponential(x); }

// Phi(x), the normal distribution's, and e^(-x^2 / 2). Phi(-|x|) = erfc(z) / 2, z = |x| / sqrt(2), by formula 7.1.26 of
// Abramowitz and Stegun, whose error is below 1.5e-7.
struct Normal {
    vec below, bell;
};

inline Normal normal(vec x) {
    const vec z = (x < 0 ? -x : x) * splat(0.707106781f);
    const vec t = splat(1.f) / (splat(1.f) + splat(0.3275911f) * z);
    vec p = splat(1.061405429f);
    p = p * t + splat(-1.453152027f);
    p = p * t + splat(1.421413741f);
    p = p * t + splat(-0.284496736f);
    p = p * t + splat(0.254829592f);
    const vec bell = power(-z * z);
    const vec tail = splat(0.5f) * p * t * bell;
    return {x > 0 ? splat(1.f) - tail : tail, bell};
}

// tanh u of GELU's approximation, u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float kRoot = 0.797884561f, kCubic = 0.044715f;

inline vec gelu_tanh(vec x) {
    const vec u = splat(kRoot) * x * (splat(1.f) + splat(kCubic) * x * x);
    return splat(1.f) - splat(2.f) / (splat(1.f) + exponential(u + u));
}

inline vec curve(vec x, Curve kind) {
    if (kind == Curve::gelu) return x * normal(x).below;
    if (kind == Curve::gelu_tanh) return splat(0.5f) * x * (splat(1.f) + gelu_tanh(x));
    return x * sigmoid(x);
}

// Its slope at x.
inline vec slope(vec x, Curve kind) {
    if (kind == Curve::gelu) {
        const Normal at = normal(x);
        return at.below + splat(0.398942280f) * x * at.bell;
    }
    if (kind == Curve::gelu_tanh) {
        const vec t = gelu_tanh(x), u = splat(kRoot) * (splat(1.f) + splat(3 * kCubic) * x * x);
        return splat(0.5f) * (splat(1.f) + t + x * (splat(1.f) - t * t) * u);
    }
    const vec s = sigmoid(x);
    return s * (splat(1.f) + x * (splat(1.f) - s));
}

void bend(const float* x, float* y, long count, Curve kind, int threads) {
    for_pieces(threads, count, [&](long i, long end) {
        for (; i + kLanes <= end; i += kLanes) store(y + i, curve(load(x + i), kind));
        for (; i < end; ++i) y[i] = curve(splat(x[i]), kind)[0];
    });
}

void unbend(const float* gy, const float* x, float* gx, long count, Curve kind, int threads) {
    for_pieces(threads, count, [&](long i, long end) {
        for (; i + kLanes <= end; i += kLanes) store(gx + i, load(gy + i) * slope(load(x + i), kind));
        for (; i < end; ++i) gx[i] = gy[i] * slope(splat(x[i]), kind)[0];
    });
}
