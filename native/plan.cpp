#include "plan.hpp"

#include <utility>

namespace chainrule {
namespace {

long divide_down(long a, long b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
long divide_up(long a, long b) { return -divide_down(-a, b); }

// Output factor * k + phase reads, through element u of the kernel, row phase + u - padding of the enlarged image, which
// is row k + (that divided by factor, rounded down) of the small one. Elements that meet there add up.
std::vector<Tap> upsampled_taps(const AxisGeometry& g, long phase) {
    std::vector<Tap> taps;
    for (int u = 0; u < g.kernel; ++u) {
        const long offset = divide_down(phase + u - g.padding, g.factor);
        if (!taps.empty() && taps.back().offset == offset)
            taps.back().last = u;
        else
            taps.push_back({offset, u, u});
    }
    return taps;
}

}  // namespace

void AxisPlan::add(Phase phase, std::vector<Tap> taps) {
    phase.tap_count = static_cast<int>(taps.size());
    taps_.push_back(std::move(taps));
    phase.taps = taps_.back().data();
    phases_.push_back(phase);
}

AxisPlan AxisPlan::forward(const AxisGeometry& g, long outputs) {
    AxisPlan plan;
    if (g.factor > 1) {  // stride and dilation are 1
        for (long phase = 0; phase < g.factor && phase < outputs; ++phase)
            plan.add({divide_up(outputs - phase, g.factor), 1, phase, g.factor, nullptr, 0}, upsampled_taps(g, phase));
        return plan;
    }
    std::vector<Tap> taps;
    for (int u = 0; u < g.kernel; ++u) taps.push_back({u * g.dilation - g.padding, u, u});
    plan.add({outputs, g.stride, 0, 1, nullptr, 0}, std::move(taps));
    return plan;
}

AxisPlan AxisPlan::backward(const AxisGeometry& g, long inputs) {
    AxisPlan plan;
    if (g.factor > 1) {
        // Input k + t was read by output factor * k + phase: input q is read by output factor * q + (phase - factor * t).
        std::vector<Tap> taps;
        for (long offset = g.padding - g.kernel + 1; offset <= g.padding + g.factor - 1; ++offset) {
            const long phase = offset - g.factor * divide_down(offset, g.factor);
            for (const Tap& tap : upsampled_taps(g, phase))
                if (phase - g.factor * tap.offset == offset) taps.push_back({offset, tap.first, tap.last});
        }
        plan.add({inputs, g.factor, 0, 1, nullptr, 0}, std::move(taps));
        return plan;
    }
    // Input stride * q + phase met element u of the window of output q + (phase + padding - u * dilation) / stride.
    for (long phase = 0; phase < g.stride && phase < inputs; ++phase) {
        std::vector<Tap> taps;
        for (long u = g.kernel - 1; u >= 0; --u) {
            const long distance = phase + g.padding - u * g.dilation;
            if (distance % g.stride == 0) taps.push_back({distance / g.stride, int(u), int(u)});
        }
        plan.add({divide_up(inputs - phase, g.stride), 1, phase, g.stride, nullptr, 0}, std::move(taps));
    }
    return plan;
}

}  // namespace chainrule
