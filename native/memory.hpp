// Memory for tensors. The kernels' scratch memory is declared in kernels.hpp.
#pragma once

#include <cstddef>
#include <stdexcept>

namespace chainrule {

// There is not enough memory; says how much was needed.
struct NoMemory : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Aligned to 64 bytes, and kept for the next one when it is released. Throws NoMemory.
void* allocate(double bytes);
void release(void* data, double bytes);

// Gives what waits to be used again back to the system, the calling thread's scratch memory too; returns how many bytes.
std::size_t empty_cache();

}  // namespace chainrule
