// The part of `chainrule._native` that works on rows of values: products of matrices, normalization, attention, curves,
// cross-entropy. Numbers named as tensors are addresses; native/module.cpp says who owns them.
#include <nanobind/nanobind.h>

#include "binding.hpp"

namespace nb = nanobind;
using namespace nanobind::literals;

namespace chainrule {
namespace {

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
    m.def(
        "linear",
        [](long x, long pitch, long rows, long weight, long outputs, long inputs, long output_step, long input_step,
           long bias, long y, int threads) {
            active->product({address(x), pitch, rows, inputs, address(weight), outputs, output_step, input_step,
                             address(bias), address(y), threads});
            release_scratch();
        },
        unlocked);
    m.def(
        "linear_gradients",
        [](long x, long x_pitch, long gy, long gy_pitch, long rows, long outputs, long inputs, long gweight, long gbias,
           int threads) {
            active->product_gradient({{address(x), x_pitch, inputs},
                                      {address(gy), gy_pitch, outputs},
                                      rows,
                                      address(gweight),
                                      address(gbias),
                                      threads});
            release_scratch();
        },
        unlocked);
    m.def(
        "pick_rows",
        [](long index, long table, long rows, long size, long y, int threads) {
            active->pick_rows({rows, size, threads}, address<int64_t>(index), address(table), address(y));
        },
        unlocked);
    m.def(
        "add_to_rows",
        [](long index, long x, long rows, long size, long targets, long sums, int threads) {
            active->add_to_rows({rows, size, threads}, address<int64_t>(index), address(x), targets, address(sums));
        },
        unlocked);
    m.def(
        "sum_rows",
        [](long x, long rows, long size, long sums, int threads) {
            active->sum_rows({rows, size, threads}, address(x), address(sums));
        },
        unlocked);
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
