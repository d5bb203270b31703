// The Python module `chainrule._native`: reads addresses, sizes and strides, makes the plan, calls the kernels.
// Its one caller is chainrule/backends/native.py, which owns the tensors; shapes have been checked above it, in chainrule.ops.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels.hpp"
#include "memory.hpp"
#include "plan.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace chainrule;

namespace {

bool supported(const std::string& name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (name == "avx512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
    if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return true;
}

// The instruction sets that this build and this processor share, best first.
std::vector<const Kernels*> available() {
    std::vector<const Kernels*> all;
#if defined(CHAINRULE_HAVE_AVX512)
    all.push_back(&avx512_kernels());
#endif
#if defined(CHAINRULE_HAVE_AVX2)
    all.push_back(&avx2_kernels());
#endif
#if defined(__aarch64__)
    all.push_back(&neon_kernels());
#else
    all.push_back(&baseline_kernels());
#endif
    std::vector<const Kernels*> ours;
    for (const Kernels* kernels : all)
        if (supported(kernels->name)) ours.push_back(kernels);
    return ours;
}

const Kernels* active = available().front();

long number(const nb::tuple& values, std::size_t index) { return nb::cast<long>(values[index]); }

float* address(long value) { return reinterpret_cast<float*>(value); }

// (address, N, C, H, W, and the four strides)
Image image(const nb::tuple& t) {
    return {address(number(t, 0)), number(t, 1), number(t, 2), number(t, 3), number(t, 4),
            number(t, 5),          number(t, 6), number(t, 7), number(t, 8)};
}

// (image, output or (), kind, slope)
Source source(const nb::tuple& t) {
    Source from;
    from.image = image(nb::cast<nb::tuple>(t[0]));
    const nb::tuple output = nb::cast<nb::tuple>(t[1]);
    if (output.size()) {
        from.output = image(output);
        from.activation = {static_cast<Nonlinearity>(number(t, 2)), nb::cast<float>(t[3])};
    }
    return from;
}

struct Geometry {
    AxisGeometry vertical, horizontal;
};

// (kernel, stride, dilation, padding above or left, upsampling factor), each vertical then horizontal
Geometry geometry(const nb::tuple& t) {
    return {{number(t, 0), number(t, 2), number(t, 4), number(t, 6), number(t, 8)},
            {number(t, 1), number(t, 3), number(t, 5), number(t, 7), number(t, 9)}};
}

// The weight of a convolution, (address, O, C / groups, kh, kw, and the four strides). Backward, the roles of input and
// output channels are swapped.
Weight weight(const nb::tuple& t, int groups, bool backward) {
    const Image w = image(t);
    Weight weight;
    weight.data = w.data;
    weight.groups = groups;
    weight.height = static_cast<int>(w.h);
    weight.width = static_cast<int>(w.w);
    weight.su = w.sh;
    weight.sv = w.sw;
    weight.sg = w.n / groups * w.sn;
    weight.outputs = backward ? w.c : w.n / groups;
    weight.inputs = backward ? w.n / groups : w.c;
    weight.so = backward ? w.sc : w.sn;
    weight.sc = backward ? w.sn : w.sc;
    return weight;
}

AxisPlan plan(const AxisGeometry& g, long size, bool backward) {
    return backward ? AxisPlan::backward(g, size) : AxisPlan::forward(g, size);
}

void gather(const nb::tuple& in, const nb::tuple& w, int groups, long bias, int kind, float slope, const nb::tuple& out,
            const nb::tuple& shape, bool backward, bool winograd, int threads) {
    Gather job;
    job.in = source(in);
    job.weight = weight(w, groups, backward);
    job.bias = address(bias);
    job.activation = {static_cast<Nonlinearity>(kind), slope};
    job.out = image(out);
    job.winograd = winograd;
    job.threads = threads;
    const Geometry g = geometry(shape);
    nb::gil_scoped_release released;
    const AxisPlan vertical = plan(g.vertical, job.out.h, backward), horizontal = plan(g.horizontal, job.out.w, backward);
    job.vertical = vertical.axis();
    job.horizontal = horizontal.axis();
    active->gather(job);
    release_scratch();
}

// One way of asking for the weight's gradient: x gathered and the output's gradient beside it or, backward, the other way
// round.
struct Correlation {
    Correlate job;
    AxisPlan vertical, horizontal;
};

Correlation correlation(const Source& x, const Source& gy, const nb::tuple& w, int groups, float* x_sums, float* gy_sums,
                        const Geometry& g, bool backward, bool winograd, int threads) {
    const Source &a = backward ? gy : x, &b = backward ? x : gy;
    Correlation c{{}, plan(g.vertical, b.image.h, backward), plan(g.horizontal, b.image.w, backward)};
    c.job.a = a;
    c.job.b = b;
    c.job.vertical = c.vertical.axis();
    c.job.horizontal = c.horizontal.axis();
    c.job.weight = weight(w, groups, backward);
    c.job.a_sums = backward ? gy_sums : x_sums;
    c.job.b_sums = backward ? x_sums : gy_sums;
    c.job.winograd = winograd;
    c.job.threads = threads;
    return c;
}

void correlate(const nb::tuple& x, const nb::tuple& gy, const nb::tuple& w, int groups, long x_sums, long gy_sums,
               const nb::tuple& shape, bool winograd, int threads) {
    const Geometry g = geometry(shape);
    const Source large = source(x), small = source(gy);
    Correlation best = correlation(large, small, w, groups, address(x_sums), address(gy_sums), g, false, winograd, threads);
    if (groups == 1) {
        Correlation other =
            correlation(large, small, w, groups, address(x_sums), address(gy_sums), g, true, winograd, threads);
        if (active->correlate_cost(other.job) < active->correlate_cost(best.job)) best = std::move(other);
    }
    nb::gil_scoped_release released;
    active->correlate(best.job);
    release_scratch();
}

// A tensor (N, C, H, W) whose channels lie side by side, of values that are not set.
nb::ndarray<nb::pytorch, float, nb::ndim<4>> empty(std::size_t n, std::size_t c, std::size_t h, std::size_t w) {
    struct Owned {
        void* data;
        double bytes;
    };
    const double bytes = 4.0 * double(n) * double(c) * double(h) * double(w);
    void* data = allocate(bytes);
    nb::capsule owner(new Owned{data, bytes}, [](void* pointer) noexcept {
        Owned* owned = static_cast<Owned*>(pointer);
        release(owned->data, owned->bytes);
        delete owned;
    });
    const auto row = static_cast<std::int64_t>(w * c);
    return {data, {n, c, h, w}, owner, {static_cast<std::int64_t>(h) * row, 1, row, static_cast<std::int64_t>(c)}};
}

// (kernel, stride, dilation, padding, each vertical then horizontal, whether padding counts)
PoolGeometry pooling(const nb::tuple& t) {
    return {number(t, 0), number(t, 1), number(t, 2), number(t, 3), number(t, 4),
            number(t, 5), number(t, 6), number(t, 7), nb::cast<bool>(t[8])};
}

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

NB_MODULE(_native, m) {
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const NoMemory& error) {
            PyErr_SetString(PyExc_MemoryError, error.what());
        }
    });
    m.doc() = "Compiled kernels of chainrule; see chainrule.backends.native.";
    m.def("activate", [](long x, long y, long count, int kind, float slope, int threads) {
        active->activate(address(x), address(y), count, {static_cast<Nonlinearity>(kind), slope}, threads);
    });
    m.def("deactivate", [](long gy, long y, long gx, long count, int kind, float slope, int threads) {
        active->deactivate(address(gy), address(y), address(gx), count, {static_cast<Nonlinearity>(kind), slope}, threads);
    });
    m.def("add", [](long a, long b, long sum, long count, int threads) {
        active->add(address(a), address(b), address(sum), count, threads);
    });
    m.def("add_images", [](const nb::tuple& a, const nb::tuple& b, const nb::tuple& sum, int threads) {
        active->add_images(image(a), image(b), image(sum), threads);
    });
    m.def("zero", [](long x, long count, int threads) { active->zero(address(x), count, threads); });
    m.def("sgd", [](long value, long gradient, long velocity, long count, float rate, float momentum, float fresh,
                    float decay, bool nesterov, bool first, int threads) {
        active->sgd({address(value), address(gradient), address(velocity), count, rate, momentum, fresh, decay, nesterov,
                     first, threads});
    });
    m.def("adam", [](long value, long gradient, long mean, long square, long count, float rate, float beta2, float fresh1,
                     float fresh2, float epsilon, float scale, float decay, float keep, int threads) {
        active->adam({address(value), address(gradient), address(mean), address(square), count, rate, beta2, fresh1, fresh2, epsilon,
                      scale, decay, keep, threads});
    });
    m.def("squared_error", [](const nb::tuple& prediction, const nb::tuple& target, int threads) {
        return active->squared_error(image(prediction), image(target), threads);
    });
    m.def("squared_error_gradient",
          [](const nb::tuple& prediction, const nb::tuple& target, float scale, const nb::tuple& out, int threads) {
              active->squared_error_gradient(image(prediction), image(target), scale, image(out), threads);
          });
    m.def("max_pool", [](const nb::tuple& in, const nb::tuple& shape, const nb::tuple& out, long places, int threads) {
        active->max_pool(image(in), pooling(shape), image(out), reinterpret_cast<int32_t*>(places), threads);
    });
    m.def("max_pool_gradient", [](const nb::tuple& gy, long places, const nb::tuple& shape, const nb::tuple& gx, int threads) {
        active->max_pool_gradient(image(gy), reinterpret_cast<int32_t*>(places), pooling(shape), image(gx), threads);
    });
    m.def("average_pool", [](const nb::tuple& in, const nb::tuple& shape, const nb::tuple& out, int threads) {
        active->average_pool(image(in), pooling(shape), image(out), threads);
    });
    m.def("average_pool_gradient", [](const nb::tuple& gy, const nb::tuple& shape, const nb::tuple& gx, int threads) {
        active->average_pool_gradient(image(gy), pooling(shape), image(gx), threads);
    });
    m.def("upsample", [](const nb::tuple& in, long rows, long columns, const nb::tuple& out, int threads) {
        active->upsample(image(in), rows, columns, image(out), threads);
    });
    m.def("upsample_gradient", [](const nb::tuple& gy, long rows, long columns, const nb::tuple& gx, int threads) {
        active->upsample_gradient(image(gy), rows, columns, image(gx), threads);
    });
    m.def("concatenate", [](const nb::tuple& a, const nb::tuple& b, const nb::tuple& out, int threads) {
        active->concatenate(image(a), image(b), image(out), threads);
    });
    m.def("empty", empty);
    m.def("gather", gather);
    m.def("correlate", correlate);
    // Floating point operations a second that `threads` threads can do at most, measured for some 50 ms.
    m.def("fma_peak", [](int threads) {
        nb::gil_scoped_release released;
        double best = 0;
        for (int repeat = 0; repeat < 8; ++repeat) {
            const double rate = active->fma_rate(threads, 1000000, seconds);
            if (rate > best) best = rate;
        }
        return best;
    });
    m.def("instruction_sets", [] {
        nb::list names;
        for (const Kernels* kernels : available()) names.append(kernels->name);
        return names;
    });
    m.def("instruction_set", [] { return std::string(active->name); });
    m.def("use_instruction_set", [](const std::string& name) {
        for (const Kernels* kernels : available())
            if (name == kernels->name) {
                active = kernels;
                return;
            }
        throw std::invalid_argument("this build or this processor has no instruction set " + name);
    });
}
