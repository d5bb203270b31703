// Pooling, nearest upsampling and concatenation of images whose channels lie side by side (sc = 1).

inline const float* pixel(const Image& image, long n, long y, long x) {
    return image.data + n * image.sn + y * image.sh + x * image.sw;
}

inline float* pixel(Image& image, long n, long y, long x) {
    return image.data + n * image.sn + y * image.sh + x * image.sw;
}

// Calls body(n, y) for every row of every image.
template <class F>
void for_image_rows(const Image& image, int threads, F&& body) {
    const bool few = image.n * image.h * image.w * image.c < 4 * kPiece;
    parallel_for(few ? 1 : threads, image.n * image.h, [&](long row) { body(row / image.h, row % image.h); });
}

// The part of a window that lies inside of the image: elements first..last-1, along one axis.
struct Span {
    long first, last;
};

inline Span inside(long start, long kernel, long dilation, long size) {
    const long first = start < 0 ? divide_up(-start, dilation) : 0;
    const long last = start < size ? smaller(kernel, divide_up(size - start, dilation)) : 0;
    return {first, larger(first, last)};
}

// The largest value under each window and its place in it; of equal ones, the first; NaN before all others.
void max_pool(const Image& in, const PoolGeometry& g, Image out, int32_t* places, int threads) {
    for_image_rows(out, threads, [&](long n, long y) {
        for (long x = 0; x < out.w; ++x) {
            const long top = y * g.stride_h - g.pad_h, left = x * g.stride_w - g.pad_w;
            const Span rows = inside(top, g.kernel_h, g.dilation_h, in.h),
                       columns = inside(left, g.kernel_w, g.dilation_w, in.w);
            float* best = pixel(out, n, y, x);
            int32_t* place = places + ((n * out.h + y) * out.w + x) * out.c;
            for (long c = 0; c < out.c; ++c) best[c] = -__builtin_inff();
            const int32_t start = int32_t(rows.first * g.kernel_w + columns.first);
            for (long c = 0; c < out.c; ++c) place[c] = start;
            for (long u = rows.first; u < rows.last; ++u)
                for (long v = columns.first; v < columns.last; ++v) {
                    const float* value = pixel(in, n, top + u * g.dilation_h, left + v * g.dilation_w);
                    const int32_t here = int32_t(u * g.kernel_w + v);
                    for (long c = 0; c < out.c; ++c) {
                        const bool takes = value[c] > best[c] || (value[c] != value[c] && best[c] == best[c]);
                        place[c] = takes ? here : place[c];
                        best[c] = takes ? value[c] : best[c];
                    }
                }
        }
    });
}

// Every gradient goes to the place that held the maximum. Windows may overlap: an image is one thread's.
void max_pool_gradient(const Image& gy, const int32_t* places, const PoolGeometry& g, Image gx, int threads) {
    parallel_for(threads, gx.n, [&](long n) {
        for (long y = 0; y < gx.h; ++y) __builtin_memset(pixel(gx, n, y, 0), 0, gx.w * gx.c * sizeof(float));
        for (long y = 0; y < gy.h; ++y)
            for (long x = 0; x < gy.w; ++x) {
                const float* from = pixel(gy, n, y, x);
                const int32_t* place = places + ((n * gy.h + y) * gy.w + x) * gy.c;
                for (long c = 0; c < gy.c; ++c) {
                    const long u = place[c] / g.kernel_w, v = place[c] % g.kernel_w;
                    const long i = y * g.stride_h - g.pad_h + u * g.dilation_h,
                               j = x * g.stride_w - g.pad_w + v * g.dilation_w;
                    if (i >= 0 && i < gx.h && j >= 0 && j < gx.w) pixel(gx, n, i, j)[c] += from[c * gy.sc];
                }
            }
    });
}

inline float share(const PoolGeometry& g, const Span& rows, const Span& columns) {
    const long counted = (rows.last - rows.first) * (columns.last - columns.first);
    return 1.f / float(g.count_padding ? g.kernel_h * g.kernel_w : counted);
}

void average_pool(const Image& in, const PoolGeometry& g, Image out, int threads) {
    for_image_rows(out, threads, [&](long n, long y) {
        for (long x = 0; x < out.w; ++x) {
            const long top = y * g.stride_h - g.pad_h, left = x * g.stride_w - g.pad_w;
            const Span rows = inside(top, g.kernel_h, 1, in.h), columns = inside(left, g.kernel_w, 1, in.w);
            float* to = pixel(out, n, y, x);
            for (long c = 0; c < out.c; ++c) to[c] = 0;
            for (long u = rows.first; u < rows.last; ++u)
                for (long v = columns.first; v < columns.last; ++v) {
                    const float* from = pixel(in, n, top + u, left + v);
                    for (long c = 0; c < out.c; ++c) to[c] += from[c];
                }
            const float part = share(g, rows, columns);
            for (long c = 0; c < out.c; ++c) to[c] *= part;
        }
    });
}

void average_pool_gradient(const Image& gy, const PoolGeometry& g, Image gx, int threads) {
    parallel_for(threads, gx.n, [&](long n) {
        for (long y = 0; y < gx.h; ++y) __builtin_memset(pixel(gx, n, y, 0), 0, gx.w * gx.c * sizeof(float));
        for (long y = 0; y < gy.h; ++y)
            for (long x = 0; x < gy.w; ++x) {
                const long top = y * g.stride_h - g.pad_h, left = x * g.stride_w - g.pad_w;
                const Span rows = inside(top, g.kernel_h, 1, gx.h), columns = inside(left, g.kernel_w, 1, gx.w);
                const float part = share(g, rows, columns);
                const float* from = pixel(gy, n, y, x);
                for (long u = rows.first; u < rows.last; ++u)
                    for (long v = columns.first; v < columns.last; ++v) {
                        float* to = pixel(gx, n, top + u, left + v);
                        for (long c = 0; c < gy.c; ++c) to[c] += part * from[c * gy.sc];
                    }
            }
    });
}

void upsample(const Image& in, long rows, long columns, Image out, int threads) {
    for_image_rows(out, threads, [&](long n, long y) {
        for (long x = 0; x < out.w; ++x)
            __builtin_memcpy(pixel(out, n, y, x), pixel(in, n, y / rows, x / columns), in.c * sizeof(float));
    });
}

void upsample_gradient(const Image& gy, long rows, long columns, Image gx, int threads) {
    for_image_rows(gx, threads, [&](long n, long y) {
        for (long x = 0; x < gx.w; ++x) {
            float* to = pixel(gx, n, y, x);
            for (long c = 0; c < gx.c; ++c) to[c] = 0;
            for (long u = 0; u < rows; ++u)
                for (long v = 0; v < columns; ++v) {
                    const float* from = pixel(gy, n, y * rows + u, x * columns + v);
                    for (long c = 0; c < gx.c; ++c) to[c] += from[c];
                }
        }
    });
}

// out = [a, b] along the channels.
void concatenate(const Image& a, const Image& b, Image out, int threads) {
    for_image_rows(out, threads, [&](long n, long y) {
        for (long x = 0; x < out.w; ++x) {
            float* to = pixel(out, n, y, x);
            __builtin_memcpy(to, pixel(a, n, y, x), a.c * sizeof(float));
            __builtin_memcpy(to + a.c, pixel(b, n, y, x), b.c * sizeof(float));
        }
    });
}
