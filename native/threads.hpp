// The thread pool: parts of a job, taken by whichever thread is free.
#pragma once

namespace chainrule {

// Calls part(context, 0), ..., part(context, parts - 1), each once, on at most `threads` threads, the caller among them.
// Returns when all are done. Called from within a part, or while another caller uses the pool, it runs them all itself.
// A part must not throw.
void parallel(int threads, long parts, void (*part)(void* context, long index), void* context);

// The same for anything that can be called with an index.
template <class F>
void parallel_for(int threads, long parts, F&& body) {
    parallel(threads, parts, [](void* context, long index) { (*static_cast<F*>(context))(index); }, &body);
}

}  // namespace chainrule
