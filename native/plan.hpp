// What a convolution's geometry means for one axis: which outputs are computed alike, and which inputs their taps read.
#pragma once

#include <vector>

#include "kernels.hpp"

namespace chainrule {

// Along one axis: nearest upsampling by `factor`, then a convolution.
struct AxisGeometry {
    long kernel, stride, dilation, padding, factor;
};

// The phases of an axis, and the memory they point to.
class AxisPlan {
public:
    // Outputs gather inputs: the convolution itself.
    static AxisPlan forward(const AxisGeometry& g, long outputs);
    // Inputs gather outputs: the gradient of the convolution's input, or the transposed convolution.
    static AxisPlan backward(const AxisGeometry& g, long inputs);

    Axis axis() const { return {phases_.data(), static_cast<int>(phases_.size())}; }

private:
    void add(Phase phase, std::vector<Tap> taps);
    std::vector<Phase> phases_;
    std::vector<std::vector<Tap>> taps_;
};

}  // namespace chainrule
