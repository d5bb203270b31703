// The part of `chainrule._native` that works on rows of values: products of matrices, normalization, attention, curves,
// cross-entropy. Numbers named as tensors are addresses; native/module.cpp says who owns them.
#include <nanobind/nanobind.h>

#include <utility>

#include "binding.hpp"
#include "plan.hpp"

namespace nb = nanobind;
using namespace nanobind::literals;

namespace chainrule {
namespace {

// Rows, `pitch` floats apart, as an image of one column: the rows are its height, so that threads share them.
Image rows_of(long data, long rows, long size, long pitch) {
    return {address(data), 1, size, rows, 1, rows * pitch, 1, pitch, size};
}

Weight matrix(long data, long outputs, long inputs, long so, long sc) {
    Weight weight{};
    weight.data = address(data);
    weight.so = so, weight.sc = sc;
    weight.outputs = outputs, weight.inputs = inputs;
    weight.groups = weight.height = weight.width = 1;
    return weight;
}

AxisPlan plan(long size) { return AxisPlan::forward({1, 1, 1, 0, 1}, size); }

// y (rows, outputs) = x (rows, inputs) weight^T + bias, a convolution by windows of one pixel; weight[o, c] is at o * so +
// c * sc.
void linear(long x, long pitch, long rows, long weight, long outputs, long inputs, long so, long sc, long bias, long y,
            int threads) {
    const AxisPlan down = plan(rows), across = plan(1);
    Gather job{};
    job.in.image = rows_of(x, rows, inputs, pitch);
    job.weight = matrix(weight, outputs, inputs, so, sc);
    job.bias = address(bias);
    job.out = rows_of(y, rows, outputs, outputs);
    job.vertical = down.axis(), job.horizontal = across.axis();
    job.threads = threads;
    active->gather(job);
    release_scratch();
}

// gweight (outputs, inputs) = gy^T x, and the sum of gy's rows.
void linear_gradients(long x, long x_pitch, long gy, long gy_pitch, long rows, long outputs, long inputs, long gweight,
                      long gbias, int threads) {
    const AxisPlan down = plan(rows), across = plan(1);
    Correlate job{};
    job.a.image = rows_of(x, rows, inputs, x_pitch);
    job.b.image = rows_of(gy, rows, outputs, gy_pitch);
    job.weight = matrix(gweight, outputs, inputs, inputs, 1);
    job.b_sums = address(gbias);
    job.vertical = down.axis(), job.horizontal = across.axis();
    job.threads = threads;
    // The same the other way round: what fills whole vectors better costs less.
    Correlate turned = job;
    std::swap(turned.a, turned.b);
    std::swap(turned.a_sums, turned.b_sums);
    turned.weight = matrix(gweight, inputs, outputs, 1, inputs);
    active->correlate(active->correlate_cost(turned) < active->correlate_cost(job) ? turned : job);
    release_scratch();
}

Attention attention(const nb::tuple& sizes, const nb::tuple& q, const nb::tuple& k, const nb::tuple& v, long padding,
                    long hidden, long added, bool each, bool causal, long keep, float scale, int threads) {
    const auto number = [](const nb::tuple& values, int place) { return nb::cast<long>(values[place]); };
    const auto places = [&](const nb::tuple& x) -> Places<const float> {
        return {address<const float>(number(x, 0)), number(x, 1), number(x, 2)};
    };
    Attention a{};
    a.n = number(sizes, 0), a.heads = number(sizes, 1), a.length = number(sizes, 2);
    a.sources = number(sizes, 3), a.size = number(sizes, 4);
    a.q = places(q), a.k = places(k), a.v = places(v);
    a.padding = address<const uint8_t>(padding);
    a.hidden = address<const uint8_t>(hidden);
    a.added = address<const float>(added);
    a.each = each, a.causal = causal;
    a.keep = address<const uint8_t>(keep);
    a.scale = scale, a.threads = threads;
    return a;
}

}  // namespace

void bind_rows(nb::module_& m) {
    const nb::call_guard<nb::gil_scoped_release> unlocked;
    m.def("linear", linear, unlocked);
    m.def("linear_gradients", linear_gradients, unlocked);
    m.def(
        "curve",
        [](long x, long y, long count, int kind, int threads) {
            active->bend(address(x), address(y), count, static_cast<Curve>(kind), threads);
        },
        unlocked);
    m.def(
        "curve_gradient",
        [](long gy, long x, long gx, long count, int kind, int threads) {
            active->unbend(address(gy), address(x), address(gx), count, static_cast<Curve>(kind), threads);
        },
        unlocked);
    m.def(
        "standardize",
        [](long x, long rows, long size, float eps, bool centre, long xhat, long scale, int threads) {
            active->standardize({rows, size, threads}, address(x), eps, centre, address(xhat), address(scale));
        },
        unlocked);
    m.def(
        "standardize_gradient",
        [](long g, long xhat, long scale, long rows, long size, bool centre, long gx, int threads) {
            active->standardize_gradient({rows, size, threads}, address(g), address(xhat), address(scale), centre,
                                         address(gx));
        },
        unlocked);
    m.def(
        "scale_shift",
        [](long x, long weight, long bias, long rows, long size, long y, int threads) {
            active->scale_shift({rows, size, threads}, address(x), address(weight), address(bias), address(y));
        },
        unlocked);
    m.def(
        "scale_shift_gradient",
        [](long gy, long x, long weight, long rows, long size, long gx, long gweight, long gbias, int threads) {
            active->scale_shift_gradient({rows, size, threads}, address(gy), address(x), address(weight), address(gx),
                                         address(gweight), address(gbias));
            release_scratch();
        },
        unlocked);
    m.def(
        "cross_entropy",
        [](long logits, long target, long ignored, long rows, long size, long values, long logs, long share,
           int threads) {
            active->cross_entropy({rows, size, threads}, address(logits), address<int64_t>(target), ignored,
                                  address(values), address(logs), address(share));
        },
        unlocked);
    m.def(
        "cross_entropy_gradient",
        [](long logs, long target, long share, float scale, long factor, long rows, long size, long glogits,
           int threads) {
            // The factor is a number that was computed: it is read here, so that Python needn't.
            active->cross_entropy_gradient({rows, size, threads}, address(logs), address<int64_t>(target),
                                           address(share), factor ? scale * *address(factor) : scale, address(glogits));
        },
        unlocked);
    nb::class_<Attention>(m, "Attention")
        .def("__init__", [](Attention* self, const nb::tuple& sizes, const nb::tuple& q, const nb::tuple& k,
                            const nb::tuple& v, long padding, long hidden, long added, bool each, bool causal,
                            long keep, float scale, int threads) {
            new (self) Attention(attention(sizes, q, k, v, padding, hidden, added, each, causal, keep, scale, threads));
        });
    m.def(
        "attention",
        [](const Attention& a, long y, long logs) {
            active->attention(a, address(y), address(logs));
            release_scratch();
        },
        unlocked);
    m.def(
        "attention_gradient",
        [](const Attention& a, long gy, long gy_sn, long gy_sl, long y, long logs, long gq, long gk, long gv,
           long pitch) {
            // The gradients are parts of rows of `pitch` floats; y is dense.
            const long wide = a.heads * a.size;
            active->attention_gradient(a, {{address<const float>(gy), gy_sn, gy_sl},
                                           {address<const float>(y), a.length * wide, wide},
                                           address<const float>(logs),
                                           {address(gq), a.length * pitch, pitch},
                                           {address(gk), a.sources * pitch, pitch},
                                           {address(gv), a.sources * pitch, pitch}});
            release_scratch();
        },
        unlocked);
}

}  // namespace chainrule
