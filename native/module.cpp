// The Python module `chainrule._native`: reads addresses, sizes and strides, makes the plan, calls the kernels.
// Its one caller is chainrule/ops/native.py, which owns the tensors; shapes have been checked above it, in chainrule.ops.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels.hpp"
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

// `windows` is the size of what the plan makes: the convolution's output, or backward its input.
void correlate(const nb::tuple& a, const nb::tuple& b, const nb::tuple& w, int groups, long a_sums, long b_sums,
               const nb::tuple& shape, bool backward, bool winograd, int threads) {
    Correlate job;
    job.a = source(a);
    job.b = source(b);
    job.weight = weight(w, groups, backward);
    job.a_sums = address(a_sums);
    job.b_sums = address(b_sums);
    job.winograd = winograd;
    job.threads = threads;
    const Geometry g = geometry(shape);
    nb::gil_scoped_release released;
    const AxisPlan vertical = plan(g.vertical, job.b.image.h, backward),
                   horizontal = plan(g.horizontal, job.b.image.w, backward);
    job.vertical = vertical.axis();
    job.horizontal = horizontal.axis();
    active->correlate(job);
    release_scratch();
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Compiled kernels of chainrule; see chainrule.ops.native.";
    m.def("gather", gather);
    m.def("correlate", correlate);
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
