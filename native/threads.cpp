#include "threads.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace chainrule {
namespace {

// A worker that has nothing to do watches for the next job this long before it sleeps: the calls of one training step
// follow each other within microseconds, and waking a sleeping thread takes some fifty.
constexpr auto kWatch = std::chrono::microseconds(100);

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Numbers below 1e-38 take processors a hundred times as long as others. Dying activations and gradients are full of them,
// and nothing is lost by zeros in their place: on this thread, as long as this object lives.
class FlushDenormals {
public:
#if defined(__x86_64__)
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before_); }

private:
    unsigned before_;
#elif defined(__aarch64__)
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | (1ul << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

private:
    unsigned long before_;
#endif
};

// Nobody waits for a worker that hasn't begun: the caller takes parts too, and a worker that comes late finds none. So a
// processor that is busy with something else costs its own share and no more.
class Pool {
public:
    void run(int threads, long parts, void (*part)(void*, long), void* context) {
        [[maybe_unused]] const FlushDenormals flush;
        // Whoever finds the pool in use, a second Python thread or a part itself, works alone.
        if (threads <= 1 || parts <= 1 || inside_ || !busy_.try_lock()) {
            for (long index = 0; index < parts; ++index) part(context, index);
            return;
        }
        std::lock_guard<std::mutex> owner(busy_, std::adopt_lock);
        const int helpers = static_cast<int>(threads - 1 < parts - 1 ? threads - 1 : parts - 1);
        grow(helpers);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            part_ = part;
            context_ = context;
            parts_ = parts;
            next_.store(0, std::memory_order_relaxed);
            seats_.store(helpers, std::memory_order_relaxed);
            generation_.fetch_add(1, std::memory_order_release);
        }
        if (sleepers_.load() > 0) wake_.notify_all();
        inside_ = true;
        take_parts();
        inside_ = false;
        // Close the job: from here on no worker can enter; those inside finish the part they hold.
        {
            std::lock_guard<std::mutex> lock(mutex_);
            seats_.store(0, std::memory_order_relaxed);
        }
        while (working_.load(std::memory_order_acquire) > 0) pause();
    }

private:
    void take_parts() {
        for (long index; (index = next_.fetch_add(1, std::memory_order_relaxed)) < parts_;) part_(context_, index);
    }

    void grow(int helpers) {
        while (workers_ < helpers) {
            try {
                std::thread(&Pool::work, this, generation_.load()).detach();
            } catch (const std::system_error&) {
                return;  // fewer workers do the same work
            }
            ++workers_;
        }
    }

    void work(unsigned seen) {
        [[maybe_unused]] const FlushDenormals flush;
        inside_ = true;
        for (;;) {
            wait_for_news(seen);
            {
                std::lock_guard<std::mutex> lock(mutex_);
                seen = generation_.load(std::memory_order_relaxed);
                if (seats_.load(std::memory_order_relaxed) <= 0) continue;
                seats_.fetch_sub(1, std::memory_order_relaxed);
                working_.fetch_add(1, std::memory_order_relaxed);
            }
            take_parts();
            working_.fetch_sub(1, std::memory_order_release);
        }
    }

    void wait_for_news(unsigned seen) {
        const auto patience = std::chrono::steady_clock::now() + kWatch;
        do {
            for (int i = 0; i < 32; ++i) {
                if (generation_.load(std::memory_order_acquire) != seen) return;
                pause();
            }
        } while (std::chrono::steady_clock::now() < patience);
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
        sleepers_.fetch_sub(1);
    }

    std::mutex busy_;   // held by the caller whose job runs
    std::mutex mutex_;  // guards the job, and who enters it
    std::condition_variable wake_;
    std::atomic<unsigned> generation_{0};
    std::atomic<int> sleepers_{0}, seats_{0}, working_{0};
    std::atomic<long> next_{0};
    long parts_ = 0;
    void (*part_)(void*, long) = nullptr;
    void* context_ = nullptr;
    int workers_ = 0;
    static thread_local bool inside_;
};

thread_local bool Pool::inside_ = false;

// Never destroyed: its threads may outlive every destructor.
std::atomic<Pool*> pool{nullptr};

#if !defined(_WIN32)
// A forked child has none of the parent's threads: it begins with a pool of its own.
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); });
#endif

Pool& the_pool() {
    Pool* current = pool.load();
    if (current) return *current;
    Pool* fresh = new Pool;
    if (pool.compare_exchange_strong(current, fresh)) return *fresh;
    delete fresh;
    return *current;
}

}  // namespace

void parallel(int threads, long parts, void (*part)(void*, long), void* context) {
    the_pool().run(threads, parts, part, context);
}

}  // namespace chainrule
