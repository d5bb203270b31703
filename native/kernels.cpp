// The kernels, compiled once for each instruction set: CHAINRULE_ISA names the namespace, the compiler's options the
// instructions. Nothing here may come from the C++ library: the linker keeps one copy of an inline function, and it could
// be the one with instructions that this processor lacks.
#include "kernels.hpp"

#include "threads.hpp"

#define CHAINRULE_JOIN_(a, b) a##b
#define CHAINRULE_JOIN(a, b) CHAINRULE_JOIN_(a, b)
#define CHAINRULE_STRING_(a) #a
#define CHAINRULE_STRING(a) CHAINRULE_STRING_(a)

namespace chainrule {
namespace CHAINRULE_ISA {
namespace {

#include "vector.hpp"
#include "tile.hpp"
#include "stage.hpp"
#include "gather.hpp"
#include "scatter.hpp"
#include "correlate.hpp"
#include "winograd_points.hpp"
#include "winograd.hpp"
#include "elementwise.hpp"
#include "pooling.hpp"
#include "curves.hpp"
#include "rows.hpp"
#include "products.hpp"
#include "attention.hpp"
#include "rate.hpp"

void gather(const Gather& job) {
    if (suits_scatter(job)) return gather_few(job);
    if (job.winograd && suits_winograd(job.vertical, job.horizontal, job.weight, job.in.image.n))
        return gather_winograd(job);
    gather_direct(job);
}

double correlate_cost(const Correlate& job) {
    const double direct = direct_cost(job.vertical, job.horizontal, job.weight);
    if (!job.winograd || !suits_winograd(job.vertical, job.horizontal, job.weight, job.a.image.n)) return direct;
    return winograd_cost(job.vertical, job.horizontal, job.weight, job.a.image.n);
}

void correlate(const Correlate& job) {
    if (job.winograd && suits_winograd(job.vertical, job.horizontal, job.weight, job.a.image.n))
        return correlate_winograd(job);
    correlate_direct(job);
}

}  // namespace
}  // namespace CHAINRULE_ISA

const Kernels& CHAINRULE_JOIN(CHAINRULE_ISA, _kernels)() {
    using namespace CHAINRULE_ISA;
    static constexpr Kernels kernels{CHAINRULE_STRING(CHAINRULE_ISA),
                                     gather,
                                     correlate,
                                     correlate_cost,
                                     activate_all,
                                     deactivate_all,
                                     add_all,
                                     add_images,
                                     zero_all,
                                     sgd,
                                     adam,
                                     squared_error,
                                     squared_error_gradient,
                                     absolute_error,
                                     absolute_error_gradient,
                                     image_errors,
                                     image_errors_gradient,
                                     sum_of_squares,
                                     multiply_all,
                                     max_pool,
                                     max_pool_gradient,
                                     average_pool,
                                     average_pool_gradient,
                                     upsample,
                                     upsample_gradient,
                                     concatenate,
                                     bend,
                                     unbend,
                                     standardize,
                                     standardize_gradient,
                                     scale_shift,
                                     scale_shift_gradient,
                                     cross_entropy,
                                     cross_entropy_gradient,
                                     pick_rows,
                                     add_to_rows,
                                     sum_rows,
                                     product,
                                     product_gradient,
                                     attention,
                                     attention_gradient,
                                     fma_rate};
    return kernels;
}

}  // namespace chainrule
