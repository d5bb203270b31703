// Memory for tensors. The kernels' scratch memory is declared in kernels.hpp.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <stdexcept>

namespace chainrule {

// There is not enough memory; says how much was needed.
struct NoMemory : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Aligned to 64 bytes, and kept for the next one when it is released. Throws NoMemory.
void* allocate(double bytes);
void release(void* data, double bytes);

// Memory for a call that is recorded to run again: what is released is handed out again here and nowhere else, so that
// the call, which writes where it wrote, owns all of it as long as the arena lives. Nothing may be in use when it ends.
class Arena {
public:
    ~Arena();
    void* take(double bytes);
    void give_back(void* data);
    // Bytes in all: the most that was in use at once, and what of it fitted nobody later.
    double bytes() const { return bytes_; }

private:
    std::mutex mutex_;
    std::multimap<double, void*> unused_;
    std::map<void*, double> sizes_;
    double bytes_ = 0;
};

// Gives what waits to be used again back to the system, the calling thread's scratch memory too; returns how many bytes.
std::size_t empty_cache();

}  // namespace chainrule
