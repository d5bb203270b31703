// Vectors of as many floats as the instruction set holds, in the vector extensions that GCC and Clang share.
// To be included inside the namespace of one instruction set: see kernels.cpp.

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
constexpr int kLanes = kBytes / 4;

#if defined(__AVX512F__) || defined(__aarch64__)
// Of 32 registers: rows x vectors hold sums, `vectors` hold weights, one a broadcast value.
constexpr int kMaxVectors = 4;
constexpr int kMaxRows[kMaxVectors + 1] = {0, 12, 12, 9, 6};
#else
constexpr int kMaxVectors = 3;  // of 16 registers
constexpr int kMaxRows[kMaxVectors + 1] = {0, 10, 6, 4};
#endif
constexpr int kRowSlots = 12;

typedef float vec __attribute__((vector_size(kBytes)));
typedef float loose_vec __attribute__((vector_size(kBytes), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(kBytes)));
typedef float vec4 __attribute__((vector_size(16)));
typedef float loose_vec4 __attribute__((vector_size(16), aligned(4), may_alias));

inline vec load(const float* p) { return *reinterpret_cast<const loose_vec*>(p); }
inline void store(float* p, vec x) { *reinterpret_cast<loose_vec*>(p) = x; }
inline vec4 load4(const float* p) { return *reinterpret_cast<const loose_vec4*>(p); }
inline void store4(float* p, vec4 x) { *reinterpret_cast<loose_vec4*>(p) = x; }
inline vec splat(float x) { return x - vec{}; }  // x - 0 is x, for -0 too

// Values that lie `stride` apart, `count` of them at most; zeros after the last.
inline vec load_lanes(const float* p, long stride, long count) {
    vec x{};
    if (count >= kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) x[i] = p[i * stride];
    } else {
        for (int i = 0; i < count; ++i) x[i] = p[i * stride];
    }
    return x;
}

inline void store_some(float* p, vec x, int count) {
    if (count == kLanes) {
        store(p, x);
    } else {
        for (int i = 0; i < count; ++i) p[i] = x[i];
    }
}

inline long smaller(long a, long b) { return a < b ? a : b; }
inline long larger(long a, long b) { return a > b ? a : b; }
inline long divide_up(long a, long b) { return (a + b - 1) / b; }
inline long round_up(long a, long b) { return divide_up(a, b) * b; }

// e^x by Cephes' expf: x = n ln 2 + r, e^r by a polynomial of degree 7. Relative error below 2e-7 where the result is a
// normal number; beyond, it saturates. NaN stays NaN.
inline vec exponential(vec x) {
    const vec low = splat(-87.33654f), high = splat(88.02969f);
    vec clamped = x < low ? low : x;
    clamped = clamped > high ? high : clamped;
    const vec magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to a whole number
    const vec shifted = clamped * splat(1.44269504f) + magic;
    const vec n = shifted - magic;
    vec r = clamped - n * splat(0.693359375f);
    r = r - n * splat(-2.12194440e-4f);
    vec p = splat(1.9875691500e-4f);
    p = p * r + splat(1.3981999507e-3f);
    p = p * r + splat(8.3334519073e-3f);
    p = p * r + splat(4.1665795894e-2f);
    p = p * r + splat(1.6666665459e-1f);
    p = p * r + splat(5.0000001201e-1f);
    p = p * r * r + r + splat(1.f);
    ivec exponent;
    __builtin_memcpy(&exponent, &shifted, sizeof shifted);
    const ivec bits = (exponent << 23) + (127 << 23);
    vec power;
    __builtin_memcpy(&power, &bits, sizeof bits);
    return p * power;
}

inline vec sigmoid(vec x) { return splat(1.f) / (splat(1.f) + exponential(-x)); }

inline vec activate(vec x, const Activation& activation) {
    if (activation.kind == Nonlinearity::relu) return x < 0 ? vec{} : x;
    if (activation.kind == Nonlinearity::leaky) return x < 0 ? x * splat(activation.slope) : x;
    if (activation.kind == Nonlinearity::sigmoid) return sigmoid(x);
    return x;
}

// dL/dx of an activation from dL/dy and y.
inline vec deactivate(vec g, vec y, const Activation& activation) {
    if (activation.kind == Nonlinearity::relu) return y > 0 ? g : vec{};
    if (activation.kind == Nonlinearity::leaky) return y > 0 ? g : g * splat(activation.slope);
    if (activation.kind == Nonlinearity::sigmoid) return g * y * (splat(1.f) - y);
    return g;
}

inline float deactivate(float g, float y, const Activation& activation) {
    if (activation.kind == Nonlinearity::relu) return y > 0 ? g : 0;
    if (activation.kind == Nonlinearity::leaky) return y > 0 ? g : g * activation.slope;
    if (activation.kind == Nonlinearity::sigmoid) return g * y * (1 - y);
    return g;
}
