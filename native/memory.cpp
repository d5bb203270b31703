// Where the kernels' memory comes from. Fresh memory costs a page fault for every 4 KiB, more than many a kernel takes to
// fill it: so what is given back is kept and handed out again.
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <string>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "memory.hpp"

#include "kernels.hpp"

namespace chainrule {
namespace {

constexpr double kLargest = 1e12;          // bytes; a size that large was computed from absurd arguments
constexpr std::size_t kHuge = 2u << 20;    // huge pages are this large
constexpr std::size_t kSmall = 64u << 10;  // below, the C library is fast enough
constexpr std::size_t kSpare = 32u << 20;

[[noreturn]] void refuse(double bytes) {
    throw NoMemory("this needs " + std::to_string(static_cast<long long>(bytes / (1 << 20))) +
                   " MiB in one piece, which can't be had; use a smaller image or batch");
}

std::size_t rounded(double bytes) {
    if (!(bytes < kLargest)) refuse(bytes < 1e18 ? bytes : 1e18);
    const std::size_t step = bytes < kHuge ? 4096 : 64 << 10;
    return (static_cast<std::size_t>(bytes) + step - 1) / step * step + 4096 * (bytes == 0);
}

void* fresh(std::size_t size) {
    const bool huge = size >= kHuge;
    void* data = std::aligned_alloc(huge ? kHuge : 64, huge ? (size + kHuge - 1) / kHuge * kHuge : size);
    if (!data) refuse(static_cast<double>(size));
#if defined(MADV_HUGEPAGE)
    if (huge) madvise(data, size, MADV_HUGEPAGE);
#endif
    return data;
}

// Blocks that are not in use, by size. Used and unused together are never more than half as much again as was in use at
// once, and a little.
class Cache {
public:
    void* take(std::size_t size) {
        std::lock_guard<std::mutex> lock(mutex_);
        auto found = unused_.lower_bound(size);
        // A much larger block would be missed by whoever needs its size.
        if (found != unused_.end() && found->first <= size + size / 4) {
            void* data = found->second;
            sizes_[data] = found->first;
            in_use_ += found->first;
            kept_ -= found->first;
            unused_.erase(found);
            most_ = in_use_ > most_ ? in_use_ : most_;
            return data;
        }
        const std::size_t bound = most_ + most_ / 2 + kSpare;
        trim(in_use_ + size > bound ? 0 : bound - in_use_ - size);
        void* data = fresh(size);
        sizes_[data] = size;
        in_use_ += size;
        most_ = in_use_ > most_ ? in_use_ : most_;
        return data;
    }

    void give_back(void* data) {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = sizes_.find(data);
        const std::size_t size = found->second;
        sizes_.erase(found);
        in_use_ -= size;
        kept_ += size;
        unused_.emplace(size, data);
    }

    // Lets go of all unused blocks; returns how many bytes that were.
    std::size_t empty() {
        std::lock_guard<std::mutex> lock(mutex_);
        const std::size_t freed = kept_;
        trim(0);
        most_ = in_use_;
        return freed;
    }

    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

private:
    // Lets go of the largest unused blocks until at most `room` bytes are left.
    void trim(std::size_t room) {
        while (kept_ > room) {
            const auto last = std::prev(unused_.end());
            kept_ -= last->first;
            std::free(last->second);
            unused_.erase(last);
        }
    }

    std::mutex mutex_;
    std::multimap<std::size_t, void*> unused_;
    std::map<void*, std::size_t> sizes_;
    std::size_t in_use_ = 0, kept_ = 0, most_ = 0;
};

// Never destroyed: tensors may be freed after everything else. Made when the module is loaded, not at its first use: a fork
// in the middle of that would leave the child to wait for a thread that it doesn't have.
Cache& cache = *new Cache;

#if !defined(_WIN32)
// A fork waits until nobody holds the lock; otherwise the child would find it held by a thread that it doesn't have.
[[maybe_unused]] const int at_fork =
    pthread_atfork([] { cache.lock(); }, [] { cache.unlock(); }, [] { cache.unlock(); });
#endif

constexpr int kSlots = 2;
constexpr std::size_t kKept = 64u << 20;  // scratch up to this size waits for the thread's next call

struct Block {
    void* data = nullptr;
    std::size_t size = 0;
    void release() {
        std::free(data);
        data = nullptr;
        size = 0;
    }
    ~Block() { release(); }
};

thread_local Block blocks[kSlots];

}  // namespace

void* allocate(double bytes) {
    const std::size_t size = rounded(bytes);
#if defined(__SANITIZE_ADDRESS__)
    void* data = nullptr;  // not a byte more, so that a step past the end is seen
    if (posix_memalign(&data, 64, static_cast<std::size_t>(bytes))) refuse(bytes);
    return data;
#endif
    return size < kSmall ? fresh(size) : cache.take(size);
}

void release(void* data, double bytes) {
#if defined(__SANITIZE_ADDRESS__)
    return std::free(data);
#endif
    if (rounded(bytes) < kSmall)
        std::free(data);
    else
        cache.give_back(data);
}

Arena::~Arena() {
    for (const auto& [data, bytes] : sizes_) release(data, bytes);
}

void* Arena::take(double bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = unused_.lower_bound(bytes);
    if (found != unused_.end() && found->first <= bytes + bytes / 4) {
        void* data = found->second;
        unused_.erase(found);
        return data;
    }
    void* data = allocate(bytes);
    sizes_.emplace(data, bytes);
    bytes_ += bytes;
    return data;
}

void Arena::give_back(void* data) {
    std::lock_guard<std::mutex> lock(mutex_);
    unused_.emplace(sizes_.at(data), data);
}

std::size_t empty_cache() {
    std::size_t freed = cache.empty();
    for (Block& block : blocks) {
        freed += block.size;
        block.release();
    }
    return freed;
}

void* scratch(int slot, double bytes) {
    Block& block = blocks[slot];
    const std::size_t size = rounded(bytes);
#if defined(__SANITIZE_ADDRESS__)
    block.release();  // so that a read past the end is seen
    block.data = std::aligned_alloc(64, (static_cast<std::size_t>(bytes) + 63) / 64 * 64);
    block.size = 0;
    if (!block.data) refuse(bytes);
    return block.data;
#endif
    if (block.size >= size) return block.data;
    block.release();
    block.data = fresh(size);
    block.size = size;
    return block.data;
}

void release_scratch() {
    for (Block& block : blocks)
        if (block.size > kKept) block.release();
}

}  // namespace chainrule
