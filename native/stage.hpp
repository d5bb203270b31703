// Staging: a piece of an image, wherever its values lie, becomes a dense block of rows x columns x channels with the zeros
// of its padding in place. All kernels below then walk over memory without a single bounds check.

// `rows` x `columns` pixels of image n, the first at (top, left), `row_step` and `column_step` apart, channels
// [channel, channel + channels). Pixels outside of the image are zero.
struct Piece {
    long n, channel, channels;
    long top, rows, row_step;
    long left, columns, column_step;
};

// Pixels whose channels lie in planes, as an image from PyTorch has them by default.
template <long kChannels>
void interleave(const float* from, long plane, long step, long count, float* to) {
    for (long i = 0; i < count; ++i)
        for (long c = 0; c < kChannels; ++c) to[i * kChannels + c] = from[i * step + c * plane];
}

// `count` pixels of one row, none outside.
inline void stage_pixels(const Source& from, const Piece& piece, long y, long x, long count, float* to) {
    const Image& in = from.image;
    const long step = piece.column_step, channels = piece.channels;
    const float* p = in.data + piece.n * in.sn + y * in.sh + x * in.sw + piece.channel * in.sc;
    const bool plain = from.activation.kind == Nonlinearity::none;
    if (in.sc != 1 && plain && channels == 3) {
        if (in.sw == 1 && step == 1) return interleave<3>(p, in.sc, 1, count, to);
        return interleave<3>(p, in.sc, step * in.sw, count, to);
    }
    if (in.sc != 1 || (!plain && from.output.sc != 1)) {
        const Image& out = from.output;
        const float* q =
            plain ? nullptr : out.data + piece.n * out.sn + y * out.sh + x * out.sw + piece.channel * out.sc;
        for (long i = 0; i < count; ++i)
            for (long c = 0; c < channels; ++c) {
                const float value = p[i * step * in.sw + c * in.sc];
                to[i * channels + c] =
                    plain ? value : deactivate(value, q[i * step * out.sw + c * out.sc], from.activation);
            }
        return;
    }
    if (plain) {
        if (in.sw == channels && step == 1) {
            __builtin_memcpy(to, p, count * channels * sizeof(float));
            return;
        }
        for (long i = 0; i < count; ++i) {
            const float* pixel = p + i * step * in.sw;
            long c = 0;
            for (; c + kLanes <= channels; c += kLanes) store(to + i * channels + c, load(pixel + c));
            for (; c < channels; ++c) to[i * channels + c] = pixel[c];
        }
        return;
    }
    const Image& out = from.output;
    const float* q = out.data + piece.n * out.sn + y * out.sh + x * out.sw + piece.channel;
    // Dense rows are one run of floats, else every pixel is.
    const bool dense = in.sw == channels && out.sw == channels && step == 1;
    const long runs = dense ? 1 : count, length = dense ? count * channels : channels;
    for (long i = 0; i < runs; ++i) {
        const float *g = p + i * step * in.sw, *o = q + i * step * out.sw;
        float* t = to + i * length;
        long c = 0;
        for (; c + kLanes <= length; c += kLanes) store(t + c, deactivate(load(g + c), load(o + c), from.activation));
        for (; c < length; ++c) t[c] = deactivate(g[c], o[c], from.activation);
    }
}

inline void stage(const Source& from, const Piece& piece, float* to) {
    const Image& in = from.image;
    const long pitch = piece.columns * piece.channels, step = piece.column_step;
    // Columns first..last are inside of the image.
    long first = piece.left < 0 ? divide_up(-piece.left, step) : 0;
    first = smaller(first, piece.columns);
    const long room = in.w - piece.left;  // columns x with x * step < room
    const long last = larger(first, smaller(piece.columns, room > 0 ? divide_up(room, step) : 0));
    for (long r = 0; r < piece.rows; ++r, to += pitch) {
        const long y = piece.top + r * piece.row_step;
        if (y < 0 || y >= in.h) {
            __builtin_memset(to, 0, pitch * sizeof(float));
            continue;
        }
        __builtin_memset(to, 0, first * piece.channels * sizeof(float));
        stage_pixels(from, piece, y, piece.left + first * step, last - first, to + first * piece.channels);
        __builtin_memset(to + last * piece.channels, 0, (piece.columns - last) * piece.channels * sizeof(float));
    }
}

// sums[c] += the sum of `pixels` pixels of `channels` floats.
inline void add_sums(const float* pixel, long pixels, long channels, float* sums) {
    for (long c = 0; c < channels; c += kLanes) {
        const long count = smaller(kLanes, channels - c);
        if (count == kLanes) {
            vec even{}, odd{};
            long i = 0;
            for (; i + 2 <= pixels; i += 2) {
                even += load(pixel + i * channels + c);
                odd += load(pixel + (i + 1) * channels + c);
            }
            if (i < pixels) even += load(pixel + i * channels + c);
            store(sums + c, load(sums + c) + (even + odd));
            continue;
        }
        for (long k = c; k < c + count; ++k) {
            float sum = 0;
            for (long i = 0; i < pixels; ++i) sum += pixel[i * channels + k];
            sums[k] += sum;
        }
    }
}
