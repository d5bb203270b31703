// What the kernels are asked to do, and the table of them that each instruction set fills in. Sizes and strides count
// floats. Derivations: docs/kernels.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chainrule {

// An image batch (N, C, H, W) anywhere in memory.
struct Image {
    float* data = nullptr;
    long n = 0, c = 0, h = 0, w = 0;      // sizes
    long sn = 0, sc = 0, sh = 0, sw = 0;  // strides
};

enum class Nonlinearity : int { none, relu, leaky, sigmoid };

// relu: max(x, 0); leaky: x where x > 0, else slope * x; sigmoid: 1 / (1 + exp(-x)).
struct Activation {
    Nonlinearity kind = Nonlinearity::none;
    float slope = 0;
};

// What a kernel reads: an image or, where `output` is given, the gradient before an activation whose gradient after it is
// `image` and whose output is `output`.
struct Source {
    Image image;
    Image output;
    Activation activation;
};

// One tap along one axis: it reads the input `offset` away from the window's origin and its weight is the sum of the
// kernel's elements first..last.
struct Tap {
    long offset;
    int first, last;
};

// Outputs first, first + step, ... along one axis, `count` in all. The window of number k begins at input k * stride.
struct Phase {
    long count, stride, first, step;
    const Tap* taps;
    int tap_count;
};

struct Axis {
    const Phase* phases;
    int count;
};

// weight[o, c, u, v] is at data[o * so + c * sc + u * su + v * sv]; c and o count within a group.
struct Weight {
    float* data;
    long so, sc, su, sv, sg;  // sg: from one group to the next
    long outputs, inputs;     // of one group
    int groups;
    int height, width;
};

// out = activation(bias + sum over taps and input channels of weight * input).
struct Gather {
    Source in;
    Axis vertical, horizontal;
    Weight weight;
    const float* bias;  // may be null
    Activation activation;
    Image out;  // sc = 1
    bool winograd;
    int threads;
};

// weight[o, c, u, v] = sum over windows of b[o at the window's output] * a[c under the window's element u, v];
// sums[i] = sum of a (or of b) over all but the channels, if wanted.
struct Correlate {
    Source a, b;
    Axis vertical, horizontal;
    Weight weight;
    float* a_sums;  // may be null
    float* b_sums;  // may be null
    bool winograd;
    int threads;
};

// Windows of a pooling, each member vertical then horizontal.
struct PoolGeometry {
    long kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
    bool count_padding;
};

// One parameter's step; see chainrule/optimizers.py.
// The optimizers' settings, and the tensors of one parameter.
struct Sgd {
    float rate, momentum, fresh, decay;  // fresh = 1 - dampening
    bool nesterov;
};

struct SgdTensors {
    float *value, *gradient, *velocity;  // velocity is null without momentum
    bool first;
    long count;
};

struct Adam {
    // 1 - beta1 and 1 - beta2 are `fresh1` and `fresh2`: a float beta close to 1 would lose digits of them.
    float rate, beta2, fresh1, fresh2, epsilon, scale, decay, keep;
};

struct AdamTensors {
    float *value, *gradient, *mean, *square;
    long count;
};

// Rows of `size` values, one after the other.
struct RowSizes {
    long rows, size;
    int threads;
};

// y (rows, outputs) = x (rows, depth) weight^T + bias, where x's rows are `pitch` floats apart and weight[o, k] is at o *
// output_step + k * depth_step. The bias may be null.
struct Product {
    const float* x;
    long pitch, rows, depth;
    const float* weight;
    long outputs, output_step, depth_step;
    const float* bias;
    float* y;
    int threads;
};

// Rows of `size` values, `pitch` floats apart.
struct Rows {
    const float* data;
    long pitch, size;
};

// gweight (outputs, inputs) = gy^T x, and gbias, the sum of gy's rows.
struct ProductGradient {
    Rows x, gy;
    long rows;
    float *gweight, *gbias;
    int threads;
};

enum class Curve : int { gelu, gelu_tanh, silu };

// A tensor (N, L, E) whose last dimension lies side by side: from one sample and one position to the next.
template <class T>
struct Places {
    T* data = nullptr;
    long sn = 0, sl = 0;
};

// Queries (N, L, E) that look at keys and values (N, S, E), by heads of E / heads = size values each.
struct Attention {
    long n, heads, length, sources, size;
    Places<const float> q, k, v;
    const uint8_t* padding;  // (N, S), of keys that nobody sees; it and the rest may be null
    const uint8_t* hidden;   // (L, S) or, if `each`, (N, heads, L, S)
    const float* added;      // likewise
    bool each, causal;
    const uint8_t* keep;  // (N, heads, L, S), of weights that are kept and multiplied by `scale`
    float scale;
    int threads;
};

struct AttentionGradient {
    Places<const float> gy, y;
    const float* logs;  // (N, heads, L)
    Places<float> gq, gk, gv;
};

// Kernels of one instruction set.
struct Kernels {
    const char* name;
    void (*gather)(const Gather&);
    void (*correlate)(const Correlate&);
    double (*correlate_cost)(const Correlate&);  // to compare two ways of asking for the same
    void (*activate)(const float* x, float* y, long count, Activation, int threads);
    void (*deactivate)(const float* gy, const float* y, float* gx, long count, Activation, int threads);
    void (*add)(const float* a, const float* b, float* sum, long count, int threads);
    void (*add_images)(const Image& a, const Image& b, const Image& sum, int threads);
    void (*zero)(float* x, long count, int threads);
    void (*sgd)(const SgdTensors&, const Sgd&, int threads);
    void (*adam)(const AdamTensors&, const Adam&, int threads);
    double (*squared_error)(const Image& prediction, const Image& target, int threads);
    void (*squared_error_gradient)(const Image& prediction, const Image& target, float scale, const Image& out,
                                   int threads);
    double (*absolute_error)(const Image& prediction, const Image& target, int threads);
    void (*absolute_error_gradient)(const Image& prediction, const Image& target, float scale, const Image& out,
                                    int threads);
    void (*image_errors)(const Image& prediction, const Image& target, long images, float* each, int threads);
    void (*image_errors_gradient)(const Image& prediction, const Image& target, long images, const float* factors,
                                  const Image& out, int threads);
    double (*sum_of_squares)(const float* x, long count, int threads);
    void (*multiply)(float* x, long count, float factor, int threads);
    void (*max_pool)(const Image& in, const PoolGeometry&, Image out, int32_t* places, int threads);
    void (*max_pool_gradient)(const Image& gy, const int32_t* places, const PoolGeometry&, Image gx, int threads);
    void (*average_pool)(const Image& in, const PoolGeometry&, Image out, int threads);
    void (*average_pool_gradient)(const Image& gy, const PoolGeometry&, Image gx, int threads);
    void (*upsample)(const Image& in, long rows, long columns, Image out, int threads);
    void (*upsample_gradient)(const Image& gy, long rows, long columns, Image gx, int threads);
    void (*concatenate)(const Image& a, const Image& b, Image out, int threads);
    void (*bend)(const float* x, float* y, long count, Curve, int threads);
    void (*unbend)(const float* gy, const float* x, float* gx, long count, Curve, int threads);
    void (*standardize)(const RowSizes&, const float* x, float eps, bool centre, float* xhat, float* scale);
    void (*standardize_gradient)(const RowSizes&, const float* g, const float* xhat, const float* scale, bool centre,
                                 float* gx);
    void (*scale_shift)(const RowSizes&, const float* x, const float* weight, const float* bias, float* y);
    void (*scale_shift_gradient)(const RowSizes&, const float* gy, const float* x, const float* weight, float* gx,
                                 float* gweight, float* gbias);
    void (*cross_entropy)(const RowSizes&, const float* logits, const int64_t* target, long ignored, float* values,
                          float* logs, float* share);
    void (*cross_entropy_gradient)(const RowSizes&, const float* logs, const int64_t* target, const float* share,
                                   float scale, float* glogits);
    void (*pick_rows)(const RowSizes&, const int64_t* index, const float* table, float* y);
    void (*add_to_rows)(const RowSizes&, const int64_t* index, const float* x, long targets, float* sums);
    void (*sum_rows)(const RowSizes&, const float* x, float* sums);
    void (*product)(const Product&);
    void (*product_gradient)(const ProductGradient&);
    void (*attention)(const Attention&, float* y, float* logs);
    void (*attention_gradient)(const Attention&, const AttentionGradient&);
    double (*fma_rate)(int threads, long rounds, double (*seconds)());  // operations a second
};

const Kernels& baseline_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& neon_kernels();

// Scratch memory of the calling thread, reused from call to call: at least `bytes`, aligned to 64. `slot` tells several
// apart. Throws NoMemory. Blocks beyond a bound are given back by release_scratch.
void* scratch(int slot, double bytes);
void release_scratch();

}  // namespace chainrule
