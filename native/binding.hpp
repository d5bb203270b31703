// What the files that make up the Python module share.
#pragma once

#include <nanobind/nanobind.h>

#include "kernels.hpp"

namespace chainrule {

// The kernels of the instruction set that is in use.
extern const Kernels* active;

template <class T = float>
T* address(long value) {
    return reinterpret_cast<T*>(value);
}

// Adds to the module what works on rows of values: module_rows.cpp.
void bind_rows(nanobind::module_& m);

}  // namespace chainrule
