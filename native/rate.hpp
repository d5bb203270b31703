// How fast this processor multiplies and adds when nothing else is asked of it.

// Floating point operations a second of `threads` threads, each with 12 independent sums in registers.
double fma_rate(int threads, long rounds, double (*seconds)()) {
    constexpr int kSums = 12;
    float results[64][kLanes];
    threads = int(smaller(64, larger(1, threads)));
    const double start = seconds();
    parallel_for(threads, threads, [&](long part) {
        vec sums[kSums], x = splat(0.999f), y = splat(1e-3f);
#pragma GCC unroll 16
        for (int i = 0; i < kSums; ++i) sums[i] = splat(float(i));
        for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
            for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * x + y;
        }
        vec total{};
#pragma GCC unroll 16
        for (int i = 0; i < kSums; ++i) total += sums[i];
        store(results[part], total);
    });
    const double elapsed = seconds() - start;
    volatile float kept = results[0][0];  // so that the sums are not thrown away
    (void)kept;
    return 2.0 * kSums * kLanes * rounds * threads / elapsed;
}
