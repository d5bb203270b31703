// The Python module `chainrule._native`: reads tensors, makes the plan, calls the kernels.
// Its one caller is chainrule/backends/native/, which owns the tensors; shapes have been checked above it, in chainrule.ops.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "binding.hpp"
#include "kernels.hpp"
#include "memory.hpp"
#include "plan.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace chainrule;
using namespace nanobind::literals;

namespace {

bool supported(const std::string& name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (name == "avx512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("fma");
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

}  // namespace

const Kernels* chainrule::active = available().front();

namespace {

long number(const nb::tuple& values, std::size_t index) { return nb::cast<long>(values[index]); }

// The names of what is asked of a tensor, made once: Python finds a method sooner by a name that it has met.
struct Names {
    PyObject *is_neg = intern("is_neg"), *resolve_neg = intern("resolve_neg"), *shape = intern("shape"),
             *stride = intern("stride"), *data_ptr = intern("data_ptr");

    static PyObject* intern(const char* name) { return PyUnicode_InternFromString(name); }
};

const Names& names() {
    static const Names& all = *new Names;
    return all;
}

nb::object result(PyObject* value) {
    if (!value) throw nb::python_error();
    return nb::steal(value);
}

nb::object call(const nb::object& tensor, PyObject* method) {
    return result(PyObject_CallMethodNoArgs(tensor.ptr(), method));
}

// A tensor (N, C, H, W) of float32 as the kernels see it. It keeps the tensor alive.
struct Operand : Image {
    explicit Operand(nb::object tensor) : owner(std::move(tensor)) {
        // Such a tensor's memory holds -x: it is the imaginary part of a conjugate, say.
        if (call(owner, names().is_neg).is(Py_True)) owner = call(owner, names().resolve_neg);
        const nb::tuple sizes = nb::borrow<nb::tuple>(result(PyObject_GetAttr(owner.ptr(), names().shape)));
        const nb::tuple strides = nb::borrow<nb::tuple>(call(owner, names().stride));
        data = address_of(owner);
        n = number(sizes, 0), c = number(sizes, 1), h = number(sizes, 2), w = number(sizes, 3);
        sn = number(strides, 0), sc = number(strides, 1), sh = number(strides, 2), sw = number(strides, 3);
    }

    // `count` floats that fill their memory, as rows of one channel.
    Operand(nb::object tensor, long rows, long count) : owner(std::move(tensor)) {
        data = address_of(owner);
        n = rows, c = h = 1, w = count / rows;
        sn = w, sc = 1, sh = w, sw = 1;
    }

    // The same, without keeping the tensor alive.
    Operand borrowed() const {
        Operand image(*this);
        image.owner = nb::none();
        return image;
    }

    static float* address_of(const nb::object& tensor) {
        return address(nb::cast<long>(call(tensor, names().data_ptr)));
    }

    nb::object owner;
};

// A tensor, or the gradient before an activation whose gradient after it and output are `gy` and `y`.
struct Read : Source {
    explicit Read(nb::object tensor) : x(std::move(tensor)) { image = x; }
    Read(nb::object gy, nb::object y, const Activation& of) : x(std::move(gy)), result(std::move(y)) {
        image = x, output = *result, activation = of;
    }

    Read borrowed() const {
        Read source(*this);
        source.x = x.borrowed();
        if (result) source.result = result->borrowed();
        return source;
    }

    Operand x;
    std::optional<Operand> result;
};

Activation activation(int kind, float slope) { return {static_cast<Nonlinearity>(kind), slope}; }

struct Geometry {
    AxisGeometry vertical, horizontal;
};

// Each is (vertical, horizontal); padding is that above and left.
Geometry geometry(const nb::tuple& kernel, const nb::tuple& stride, const nb::tuple& dilation, const nb::tuple& padding,
                  const nb::tuple& scale) {
    return {{number(kernel, 0), number(stride, 0), number(dilation, 0), number(padding, 0), number(scale, 0)},
            {number(kernel, 1), number(stride, 1), number(dilation, 1), number(padding, 1), number(scale, 1)}};
}

PoolGeometry pooling(const nb::tuple& kernel, const nb::tuple& stride, const nb::tuple& dilation,
                     const nb::tuple& padding, bool count_padding) {
    return {number(kernel, 0),   number(kernel, 1),  number(stride, 0),  number(stride, 1), number(dilation, 0),
            number(dilation, 1), number(padding, 0), number(padding, 1), count_padding};
}

// The weight of a convolution, (O, C / groups, kh, kw). Backward, the roles of input and output channels are swapped.
Weight weight(const Image& w, int groups, bool backward) {
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

void gather(const Read& in, const Operand& w, int groups, long bias, Activation activation, const Operand& out,
            const Geometry& g, bool backward, bool winograd, int threads) {
    Gather job;
    job.in = in;
    job.weight = weight(w, groups, backward);
    job.bias = address(bias);
    job.activation = activation;
    job.out = out;
    job.winograd = winograd;
    job.threads = threads;
    const AxisPlan vertical = plan(g.vertical, job.out.h, backward),
                   horizontal = plan(g.horizontal, job.out.w, backward);
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

Correlation correlation(const Source& x, const Source& gy, const Image& w, int groups, float* x_sums, float* gy_sums,
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

void correlate(const Read& x, const Read& gy, const Operand& w, int groups, long x_sums, long gy_sums,
               const Geometry& g, bool winograd, int threads) {
    Correlation best = correlation(x, gy, w, groups, address(x_sums), address(gy_sums), g, false, winograd, threads);
    if (groups == 1) {
        Correlation other =
            correlation(x, gy, w, groups, address(x_sums), address(gy_sums), g, true, winograd, threads);
        if (active->correlate_cost(other.job) < active->correlate_cost(best.job)) best = std::move(other);
    }
    active->correlate(best.job);
    release_scratch();
}

using Tensor = nb::ndarray<nb::pytorch, float, nb::ndim<4>>;

// A tensor (N, C, H, W) whose channels lie side by side, of values that are not set, in memory of `Owned`.
template <class Owned, class... Arguments>
Tensor empty_in(std::size_t n, std::size_t c, std::size_t h, std::size_t w, Arguments... where) {
    Owned* owned = new Owned(4.0 * double(n) * double(c) * double(h) * double(w), where...);
    void* data = owned->data;
    nb::capsule owner(owned, [](void* pointer) noexcept { delete static_cast<Owned*>(pointer); });
    const auto row = static_cast<std::int64_t>(w * c);
    return {data, {n, c, h, w}, owner, {static_cast<std::int64_t>(h) * row, 1, row, static_cast<std::int64_t>(c)}};
}

struct Memory {
    explicit Memory(double size) : data(allocate(size)), bytes(size) {}
    ~Memory() { release(data, bytes); }

    void* data;
    double bytes;
};

struct MemoryOfArena {
    MemoryOfArena(double size, std::shared_ptr<Arena> from) : arena(std::move(from)), data(arena->take(size)) {}
    ~MemoryOfArena() { arena->give_back(data); }

    std::shared_ptr<Arena> arena;
    void* data;
};

Tensor empty(std::size_t n, std::size_t c, std::size_t h, std::size_t w) { return empty_in<Memory>(n, c, h, w); }

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

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
    // What stands between Python and the kernels. Arguments are read before a kernel lets go of the interpreter's lock, and
    // the caller's references keep them.
    nb::class_<Operand>(m, "Image")
        .def(nb::init<nb::object>())
        .def(nb::init<nb::object, long, long>())
        .def("borrowed", &Operand::borrowed);
    nb::class_<Activation>(m, "Activation").def("__init__", [](Activation* self, int kind, float slope) {
        new (self) Activation(activation(kind, slope));
    });
    nb::class_<Read>(m, "Source")
        .def(nb::init<nb::object>())
        .def(nb::init<nb::object, nb::object, const Activation&>())
        .def("borrowed", &Read::borrowed);
    nb::class_<std::shared_ptr<Arena>>(m, "Arena")
        .def("__init__", [](std::shared_ptr<Arena>* self) { new (self) std::shared_ptr<Arena>(new Arena); })
        .def("empty", [](const std::shared_ptr<Arena>& arena, std::size_t n, std::size_t c, std::size_t h,
                         std::size_t w) { return empty_in<MemoryOfArena>(n, c, h, w, arena); })
        .def_prop_ro("bytes", [](const std::shared_ptr<Arena>& arena) { return arena->bytes(); });
    nb::class_<Geometry>(m, "Geometry")
        .def("__init__", [](Geometry* self, const nb::tuple& kernel, const nb::tuple& stride, const nb::tuple& dilation,
                            const nb::tuple& padding, const nb::tuple& scale) {
            new (self) Geometry(geometry(kernel, stride, dilation, padding, scale));
        });
    nb::class_<PoolGeometry>(m, "Pooling")
        .def("__init__", [](PoolGeometry* self, const nb::tuple& kernel, const nb::tuple& stride,
                            const nb::tuple& dilation, const nb::tuple& padding, bool count_padding) {
            new (self) PoolGeometry(pooling(kernel, stride, dilation, padding, count_padding));
        });
    nb::class_<Sgd>(m, "Sgd").def(
        "__init__",
        [](Sgd* self, float rate, float momentum, float fresh, float decay, bool nesterov) {
            new (self) Sgd{rate, momentum, fresh, decay, nesterov};
        },
        nb::kw_only(), "rate"_a, "momentum"_a, "fresh"_a, "decay"_a, "nesterov"_a);
    nb::class_<Adam>(m, "Adam").def(
        "__init__",
        [](Adam* self, float rate, float beta2, float fresh1, float fresh2, float epsilon, float scale, float decay,
           float keep) { new (self) Adam{rate, beta2, fresh1, fresh2, epsilon, scale, decay, keep}; },
        nb::kw_only(), "rate"_a, "beta2"_a, "fresh1"_a, "fresh2"_a, "epsilon"_a, "scale"_a, "decay"_a, "keep"_a);

    const nb::call_guard<nb::gil_scoped_release> unlocked;
    m.def(
        "activate",
        [](long x, long y, long count, Activation activation, int threads) {
            active->activate(address(x), address(y), count, activation, threads);
        },
        unlocked);
    m.def(
        "deactivate",
        [](long gy, long y, long gx, long count, Activation activation, int threads) {
            active->deactivate(address(gy), address(y), address(gx), count, activation, threads);
        },
        unlocked);
    m.def(
        "add",
        [](long a, long b, long sum, long count, int threads) {
            active->add(address(a), address(b), address(sum), count, threads);
        },
        unlocked);
    m.def(
        "add_images",
        [](const Operand& a, const Operand& b, const Operand& sum, int threads) {
            active->add_images(a, b, sum, threads);
        },
        unlocked);
    using Addresses = std::vector<long>;
    m.def(
        "zero",
        [](const Addresses& values, const std::vector<long>& counts, int threads) {
            for (std::size_t i = 0; i < values.size(); ++i) active->zero(address(values[i]), counts[i], threads);
        },
        unlocked);
    m.def(
        "sgd",
        [](const Addresses& values, const Addresses& gradients, const Addresses& velocities,
           const std::vector<bool>& first, const std::vector<long>& counts, const Sgd& settings, int threads) {
            for (std::size_t i = 0; i < values.size(); ++i)
                active->sgd({address(values[i]), address(gradients[i]),
                             velocities.empty() ? nullptr : address(velocities[i]), first[i], counts[i]},
                            settings, threads);
        },
        unlocked);
    m.def(
        "adam",
        [](const Addresses& values, const Addresses& gradients, const Addresses& means, const Addresses& squares,
           const std::vector<long>& counts, const Adam& settings, int threads) {
            for (std::size_t i = 0; i < values.size(); ++i)
                active->adam(
                    {address(values[i]), address(gradients[i]), address(means[i]), address(squares[i]), counts[i]},
                    settings, threads);
        },
        unlocked);
    m.def(
        "squared_error",
        [](const Operand& prediction, const Operand& target, int threads) {
            return active->squared_error(prediction, target, threads);
        },
        unlocked);
    m.def(
        "squared_error_gradient",
        [](const Operand& prediction, const Operand& target, float scale, const Operand& out, int threads) {
            active->squared_error_gradient(prediction, target, scale, out, threads);
        },
        unlocked);
    m.def(
        "absolute_error",
        [](const Operand& prediction, const Operand& target, int threads) {
            return active->absolute_error(prediction, target, threads);
        },
        unlocked);
    m.def(
        "absolute_error_gradient",
        [](const Operand& prediction, const Operand& target, float scale, const Operand& out, int threads) {
            active->absolute_error_gradient(prediction, target, scale, out, threads);
        },
        unlocked);
    m.def(
        "image_errors",
        [](const Operand& prediction, const Operand& target, long images, long each, int threads) {
            active->image_errors(prediction, target, images, address(each), threads);
        },
        unlocked);
    m.def(
        "image_errors_gradient",
        [](const Operand& prediction, const Operand& target, long images, long factors, const Operand& out,
           int threads) { active->image_errors_gradient(prediction, target, images, address(factors), out, threads); },
        unlocked);
    m.def(
        "clip",
        [](const Addresses& gradients, const std::vector<long>& counts, double limit, int threads) {
            double sum = 0;
            for (std::size_t i = 0; i < gradients.size(); ++i)
                sum += active->sum_of_squares(address(gradients[i]), counts[i], threads);
            const double norm = __builtin_sqrt(sum), factor = limit / (norm + 1e-6);
            if (__builtin_isfinite(norm) && factor < 1)
                for (std::size_t i = 0; i < gradients.size(); ++i)
                    active->multiply(address(gradients[i]), counts[i], float(factor), threads);
            return norm;
        },
        unlocked);
    m.def(
        "max_pool",
        [](const Operand& in, const PoolGeometry& shape, const Operand& out, long places, int threads) {
            active->max_pool(in, shape, out, reinterpret_cast<int32_t*>(places), threads);
        },
        unlocked);
    m.def(
        "max_pool_gradient",
        [](const Operand& gy, long places, const PoolGeometry& shape, const Operand& gx, int threads) {
            active->max_pool_gradient(gy, reinterpret_cast<int32_t*>(places), shape, gx, threads);
        },
        unlocked);
    m.def(
        "average_pool",
        [](const Operand& in, const PoolGeometry& shape, const Operand& out, int threads) {
            active->average_pool(in, shape, out, threads);
        },
        unlocked);
    m.def(
        "average_pool_gradient",
        [](const Operand& gy, const PoolGeometry& shape, const Operand& gx, int threads) {
            active->average_pool_gradient(gy, shape, gx, threads);
        },
        unlocked);
    m.def(
        "upsample",
        [](const Operand& in, long rows, long columns, const Operand& out, int threads) {
            active->upsample(in, rows, columns, out, threads);
        },
        unlocked);
    m.def(
        "upsample_gradient",
        [](const Operand& gy, long rows, long columns, const Operand& gx, int threads) {
            active->upsample_gradient(gy, rows, columns, gx, threads);
        },
        unlocked);
    m.def(
        "concatenate",
        [](const Operand& a, const Operand& b, const Operand& out, int threads) {
            active->concatenate(a, b, out, threads);
        },
        unlocked);
    bind_rows(m);
    m.def("empty", empty);
    m.def("empty_cache", empty_cache, unlocked);
    m.def("gather", gather, unlocked);
    m.def("correlate", correlate, unlocked);
    // Floating point operations a second that `threads` threads can do at most, measured for some 50 ms.
    m.def(
        "fma_peak",
        [](int threads) {
            double best = 0;
            for (int repeat = 0; repeat < 8; ++repeat) {
                const double rate = active->fma_rate(threads, 1000000, seconds);
                if (rate > best) best = rate;
            }
            return best;
        },
        unlocked);
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
