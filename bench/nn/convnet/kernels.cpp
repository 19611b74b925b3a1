// Gradient and Hessian-vector product of a ConvNet (conv 3x3, instance norm, ReLU, 2x2 average pooling; linear head),
// for one thread, float and double. The equations are in docs/engine.md.
//
// Layout. Channels lie in blocks of LANES (one vector), so that a statistic of instance norm is one vector and a
// convolution is a broadcast of an input number times a vector of weights. One sample's tensor is
// [block][row][column][lane]; inputs of convolutions carry their zero padding. The first layer's input has its own few
// channels as the last axis. Channels are padded with zeros to whole blocks; padded channels stay exactly zero.
//
// Parameters are one packed vector: per layer weights [out block][in block][tap][in lane][out lane], conv bias, gain,
// bias; then head weights [class][feature], head bias. The conv bias is inert before instance norm and never read.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE 8
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define TILE 4
#else
#define VECTOR_BYTES 16
#define TILE 4
#endif
#define MAX_DEPTH 8
#define UNROLL _Pragma("GCC unroll 32")

namespace {

using std::size_t;

template <class T> struct Of {
    static constexpr int LANES = VECTOR_BYTES / sizeof(T);
    typedef T V __attribute__((vector_size(VECTOR_BYTES)));
    typedef T U __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
};

template <class T> inline typename Of<T>::V load(const T *p) { return *reinterpret_cast<const typename Of<T>::U *>(p); }
template <class T> inline void store(T *p, typename Of<T>::V v) { *reinterpret_cast<typename Of<T>::U *>(p) = v; }
template <class T> inline T total(typename Of<T>::V v) {
    T sum = 0;
    for (int i = 0; i < Of<T>::LANES; ++i) sum += v[i];
    return sum;
}

int blocks(int channels, int lanes) { return (channels + lanes - 1) / lanes; }

// Memory that only grows, aligned and zeroed when it is obtained.
template <class T> struct Buffer {
    T *data = nullptr;
    size_t size = 0;
    T *need(size_t count) {
        if (count > size) {
            std::free(data);
            size_t bytes = (count * sizeof(T) + 127) / 64 * 64;
            data = static_cast<T *>(std::aligned_alloc(64, bytes));
            if (!data) throw std::bad_alloc();
            std::memset(data, 0, bytes);
            size = count;
        }
        return data;
    }
    ~Buffer() { std::free(data); }
};

// ---------------------------------------------------------------- convolution kernels

// TR x TC pixels times NV vectors of output channels, all taps and input lanes of one input block.
template <class T, int NV, int TR, int TC, int IB>
inline void conv_tile(const T *x, int stride, int lanes, const T *w, size_t w_block, T *out, int out_stride, size_t out_block, bool fresh) {
    using V = typename Of<T>::V;
    constexpr int L = Of<T>::LANES;
    const int ib = IB ? IB : lanes;
    V acc[NV][TR * TC];
    UNROLL for (int v = 0; v < NV; ++v) UNROLL for (int p = 0; p < TR * TC; ++p)
        acc[v][p] = fresh ? V{} : load<T>(out + v * out_block + (size_t)((p / TC) * out_stride + p % TC) * L);
    for (int ky = 0; ky < 3; ++ky)
        for (int kx = 0; kx < 3; ++kx) {
            const T *xt = x + (size_t)(ky * stride + kx) * ib;
            const T *wt = w + (size_t)(ky * 3 + kx) * ib * L;
            for (int i = 0; i < ib; ++i) {
                V weight[NV];
                UNROLL for (int v = 0; v < NV; ++v) weight[v] = load<T>(wt + v * w_block + i * L);
                UNROLL for (int p = 0; p < TR * TC; ++p) {
                    const T value = xt[(size_t)((p / TC) * stride + p % TC) * ib + i];
                    UNROLL for (int v = 0; v < NV; ++v) acc[v][p] += value * weight[v];
                }
            }
        }
    UNROLL for (int v = 0; v < NV; ++v) UNROLL for (int p = 0; p < TR * TC; ++p)
        store<T>(out + v * out_block + (size_t)((p / TC) * out_stride + p % TC) * L, acc[v][p]);
}

// One input block into NV output blocks, all pixels of one sample.
template <class T, int NV, int IB>
void conv_plane(const T *x, int stride, int lanes, const T *w, size_t w_block, T *out, int h, int width, size_t out_block, bool fresh) {
    constexpr int L = Of<T>::LANES;
    const int ib = IB ? IB : lanes;
    auto at = [&](int y, int c) { return x + (size_t)(y * stride + c) * ib; };
    auto to = [&](int y, int c) { return out + (size_t)(y * width + c) * L; };
    int y = 0;
    if (width == 4 && TILE == 8)
        for (; y + 2 <= h; y += 2) conv_tile<T, NV, 2, 4, IB>(at(y, 0), stride, lanes, w, w_block, to(y, 0), width, out_block, fresh);
    if (width == 2)
        for (; y + 2 <= h; y += 2) conv_tile<T, NV, 2, 2, IB>(at(y, 0), stride, lanes, w, w_block, to(y, 0), width, out_block, fresh);
    for (; y < h; ++y) {
        int c = 0;
        for (; c + TILE <= width; c += TILE) conv_tile<T, NV, 1, TILE, IB>(at(y, c), stride, lanes, w, w_block, to(y, c), width, out_block, fresh);
        if (TILE == 8)
            for (; c + 4 <= width; c += 4) conv_tile<T, NV, 1, 4, IB>(at(y, c), stride, lanes, w, w_block, to(y, c), width, out_block, fresh);
        for (; c < width; ++c) conv_tile<T, NV, 1, 1, IB>(at(y, c), stride, lanes, w, w_block, to(y, c), width, out_block, fresh);
    }
}

// out += (or =) conv(x, w) for `count` samples; x carries its padding, w is [out block][in block][tap][in lane][out lane].
template <class T>
void conv(const T *x, size_t x_sample, int hp, int wp, int in_blocks, int ib, const T *w, T *out, size_t out_sample, int h, int width,
          int out_blocks, int count, bool fresh) {
    constexpr int L = Of<T>::LANES;
    const size_t w_pair = (size_t)9 * ib * L, w_block = w_pair * in_blocks, plane = (size_t)h * width * L, x_plane = (size_t)hp * wp * ib;
    for (int ob = 0; ob < out_blocks; ob += 2)
        for (int b = 0; b < in_blocks; ++b)
            for (int s = 0; s < count; ++s) {
                const T *xs = x + s * x_sample + b * x_plane, *ws = w + ob * w_block + b * w_pair;
                T *os = out + s * out_sample + ob * plane;
                const bool first = fresh && b == 0;
                if (ob + 1 < out_blocks) {
                    if (ib == L) conv_plane<T, 2, L>(xs, wp, ib, ws, w_block, os, h, width, plane, first);
                    else conv_plane<T, 2, 0>(xs, wp, ib, ws, w_block, os, h, width, plane, first);
                } else {
                    if (ib == L) conv_plane<T, 1, L>(xs, wp, ib, ws, w_block, os, h, width, plane, first);
                    else conv_plane<T, 1, 0>(xs, wp, ib, ws, w_block, os, h, width, plane, first);
                }
            }
}

// NI inputs at the given offsets times NV output blocks, summed over samples and pixels.
template <class T, int NV, int NI>
inline void weight_tile(const T *x, size_t x_sample, int x_row, int x_pixel, const int *offsets, const T *z, size_t z_sample, int z_stride,
                        size_t z_block, int h, int width, int count, T *out, size_t out_block, size_t out_step) {
    using V = typename Of<T>::V;
    constexpr int L = Of<T>::LANES;
    V acc[NI][NV];
    UNROLL for (int j = 0; j < NI; ++j) UNROLL for (int v = 0; v < NV; ++v) acc[j][v] = load<T>(out + v * out_block + j * out_step);
    for (int s = 0; s < count; ++s)
        for (int y = 0; y < h; ++y) {
            const T *xr = x + s * x_sample + (size_t)y * x_row;
            const T *zr = z + s * z_sample + (size_t)y * z_stride * L;
            for (int c = 0; c < width; ++c, xr += x_pixel, zr += L) {
                V grad[NV];
                UNROLL for (int v = 0; v < NV; ++v) grad[v] = load<T>(zr + v * z_block);
                UNROLL for (int j = 0; j < NI; ++j) {
                    const T value = xr[offsets ? offsets[j] : j];
                    UNROLL for (int v = 0; v < NV; ++v) acc[j][v] += value * grad[v];
                }
            }
        }
    UNROLL for (int j = 0; j < NI; ++j) UNROLL for (int v = 0; v < NV; ++v) store<T>(out + v * out_block + j * out_step, acc[j][v]);
}

// dw += gradient of the weights; z has a halo of one pixel and points at it.
template <class T>
void conv_weights(const T *x, size_t x_sample, int hp, int wp, int in_blocks, int ib, const T *z, size_t z_sample, int h, int width,
                  int out_blocks, int count, bool first_layer, T *dw) {
    constexpr int L = Of<T>::LANES;
    const int zw = width + 2;
    const size_t z_block = (size_t)(h + 2) * zw * L, w_pair = (size_t)9 * ib * L, w_block = w_pair * in_blocks, x_plane = (size_t)hp * wp * ib;
    const T *inside = z + (size_t)(zw + 1) * L;
    if (first_layer) {
        for (int ob = 0; ob < out_blocks; ob += 2)
            for (int i = 0; i < ib; ++i) {
                int offsets[9];
                for (int tap = 0; tap < 9; ++tap) offsets[tap] = (tap / 3 * wp + tap % 3) * ib + i;
                T *to = dw + ob * w_block + (size_t)i * L;
                if (ob + 1 < out_blocks)
                    weight_tile<T, 2, 9>(x, x_sample, wp * ib, ib, offsets, inside + ob * z_block, z_sample, zw, z_block, h, width, count, to, w_block, (size_t)ib * L);
                else
                    weight_tile<T, 1, 9>(x, x_sample, wp * ib, ib, offsets, inside + ob * z_block, z_sample, zw, z_block, h, width, count, to, w_block, (size_t)ib * L);
            }
        return;
    }
    // As many samples at once as keep the planes of one pair of blocks in the first-level cache.
    const int together = std::max<int>(1, (int)(12288 / (x_plane * sizeof(T))));
    for (int ob = 0; ob < out_blocks; ob += 2)
        for (int b = 0; b < in_blocks; ++b)
            for (int s = 0; s < count; s += together)
                for (int tap = 0; tap < 9; ++tap)
                    for (int i = 0; i < L; i += TILE) {
                        constexpr int NI = TILE < L ? TILE : L;
                        const T *xs = x + s * x_sample + b * x_plane + (size_t)(tap / 3 * wp + tap % 3) * L + i;
                        const T *zs = inside + s * z_sample + ob * z_block;
                        T *to = dw + ob * w_block + b * w_pair + (size_t)(tap * L + i) * L;
                        const int some = std::min(together, count - s);
                        if (ob + 1 < out_blocks)
                            weight_tile<T, 2, NI>(xs, x_sample, wp * L, L, nullptr, zs, z_sample, zw, z_block, h, width, some, to, w_block, L);
                        else
                            weight_tile<T, 1, NI>(xs, x_sample, wp * L, L, nullptr, zs, z_sample, zw, z_block, h, width, some, to, w_block, L);
                    }
}

// Weights of the transposed convolution: [in block][out block][flipped tap][out lane][in lane].
template <class T> void transpose_weights(const T *w, int in_blocks, int out_blocks, T *back) {
    constexpr int L = Of<T>::LANES;
    for (int ob = 0; ob < out_blocks; ++ob)
        for (int b = 0; b < in_blocks; ++b)
            for (int tap = 0; tap < 9; ++tap) {
                const T *from = w + (((size_t)ob * in_blocks + b) * 9 + tap) * L * L;
                T *to = back + (((size_t)b * out_blocks + ob) * 9 + 8 - tap) * L * L;
                for (int i = 0; i < L; ++i)
                    for (int o = 0; o < L; ++o) to[o * L + i] = from[i * L + o];
            }
}

// First layer's weights with tap and input channel as lanes: [out channel][9c, padded].
template <class T> void image_weights(const T *w, int ib, int out_blocks, int vectors, T *back) {
    constexpr int L = Of<T>::LANES;
    std::memset(back, 0, sizeof(T) * (size_t)out_blocks * L * vectors * L);
    for (int ob = 0; ob < out_blocks; ++ob)
        for (int k = 0; k < 9 * ib; ++k)
            for (int o = 0; o < L; ++o) back[((size_t)ob * L + o) * vectors * L + k] = w[((size_t)ob * 9 * ib + k) * L + o];
}

template <class T, int NV, int NP>
inline void image_tile(const T *z, size_t z_block, int out_blocks, const T *w, size_t w_row, T *columns, size_t column_row, bool fresh) {
    using V = typename Of<T>::V;
    constexpr int L = Of<T>::LANES;
    V acc[NP][NV];
    UNROLL for (int p = 0; p < NP; ++p) UNROLL for (int v = 0; v < NV; ++v) acc[p][v] = fresh ? V{} : load<T>(columns + p * column_row + v * L);
    for (int ob = 0; ob < out_blocks; ++ob, z += z_block)
        for (int o = 0; o < L; ++o, w += w_row) {
            V weight[NV];
            UNROLL for (int v = 0; v < NV; ++v) weight[v] = load<T>(w + v * L);
            UNROLL for (int p = 0; p < NP; ++p) {
                const T value = z[(size_t)p * L + o];
                UNROLL for (int v = 0; v < NV; ++v) acc[p][v] += value * weight[v];
            }
        }
    UNROLL for (int p = 0; p < NP; ++p) UNROLL for (int v = 0; v < NV; ++v) store<T>(columns + p * column_row + v * L, acc[p][v]);
}

template <class T, int NP>
void image_columns(const T *z, size_t z_block, int out_blocks, const T *w, int vectors, T *columns, bool fresh) {
    constexpr int L = Of<T>::LANES;
    int v = 0;
    const size_t row = (size_t)vectors * L;
    for (; v + 2 <= vectors; v += 2) image_tile<T, 2, NP>(z, z_block, out_blocks, w + v * L, row, columns + v * L, row, fresh);
    if (v < vectors) image_tile<T, 1, NP>(z, z_block, out_blocks, w + v * L, row, columns + v * L, row, fresh);
}

// ---------------------------------------------------------------- instance norm, ReLU, pooling: one block of one sample

// z -> n in place; writes r = 1/sqrt(var + eps).
template <class T> void normalise(T *z, int count, T *r_out) {
    using V = typename Of<T>::V;
    constexpr int L = Of<T>::LANES;
    V sum[4] = {};
    int p = 0;
    for (; p + 4 <= count; p += 4) UNROLL for (int j = 0; j < 4; ++j) sum[j] += load<T>(z + (p + j) * L);
    for (; p < count; ++p) sum[0] += load<T>(z + p * L);
    const V mean = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / (T)count;
    V square[4] = {};
    for (p = 0; p + 4 <= count; p += 4) UNROLL for (int j = 0; j < 4; ++j) {
        const V d = load<T>(z + (p + j) * L) - mean;
        square[j] += d * d;
    }
    for (; p < count; ++p) {
        const V d = load<T>(z + p * L) - mean;
        square[0] += d * d;
    }
    const V variance = ((square[0] + square[1]) + (square[2] + square[3])) / (T)count;
    V r;
    for (int i = 0; i < L; ++i) r[i] = T(1) / std::sqrt(variance[i] + T(1e-5));
    store<T>(r_out, r);
    for (p = 0; p < count; ++p) store<T>(z + p * L, (load<T>(z + p * L) - mean) * r);
}

// Gain, bias, ReLU and average pooling of n.
template <class T> void pool(const T *n, int width, const T *gain, const T *bias, T *out, int out_stride, int ph, int pw) {
    using V = typename Of<T>::V;
    constexpr int L = Of<T>::LANES;
    const V g = load<T>(gain), b = load<T>(bias), zero = {};
    for (int y = 0; y < ph; ++y)
        for (int c = 0; c < pw; ++c) {
            V pooled = {};
            UNROLL for (int j = 0; j < 4; ++j) {
                const V a = g * load<T>(n + (size_t)((2 * y + j / 2) * width + 2 * c + j % 2) * L) + b;
                pooled += a > zero ? a : zero;
            }
            store<T>(out + (size_t)(y * out_stride + c) * L, pooled * T(0.25));
        }
}

// Gradient: pooled gradient -> zbar (into a halo of one), gain and bias.
template <class T>
void block_backward(const T *n, const T *pooled, const T *r_in, int h, int width, int ph, int pw, const T *gain, const T *bias, T *zbar,
                    T *dgain, T *dbias) {
    using V = typename Of<T>::V;
    constexpr int L = Of<T>::LANES;
    const V g = load<T>(gain), b = load<T>(bias), zero = {}, r = load<T>(r_in);
    V sum[4] = {}, sum_n[4] = {};
    for (int y = 0; y < ph; ++y)
        for (int c = 0; c < pw; ++c) {
            const V t = load<T>(pooled + (size_t)(y * pw + c) * L) * T(0.25);
            UNROLL for (int j = 0; j < 4; ++j) {
                const V x = load<T>(n + (size_t)((2 * y + j / 2) * width + 2 * c + j % 2) * L);
                const V a = (g * x + b) > zero ? t : zero;
                sum[j] += a;
                sum_n[j] += a * x;
            }
        }
    const V s = (sum[0] + sum[1]) + (sum[2] + sum[3]), sn = (sum_n[0] + sum_n[1]) + (sum_n[2] + sum_n[3]);
    store<T>(dgain, load<T>(dgain) + sn);
    store<T>(dbias, load<T>(dbias) + s);
    const V rg = r * g, k = rg * s / (T)(h * width), kn = rg * sn / (T)(h * width);
    T *inside = zbar + (size_t)(width + 3) * L;
    for (int y = 0; y < h; ++y)
        for (int c = 0; c < width; ++c) {
            const V x = load<T>(n + (size_t)(y * width + c) * L);
            V q = -k - kn * x;
            if (y < 2 * ph && c < 2 * pw) {
                const V t = load<T>(pooled + (size_t)(y / 2 * pw + c / 2) * L) * T(0.25);
                q += rg * ((g * x + b) > zero ? t : zero);
            }
            store<T>(inside + (size_t)(y * (width + 2) + c) * L, q);
        }
}

// Tangent of block_forward: zdot -> ndot in place; writes s = mean(n nu) and the pooled tangent.
template <class T>
void block_tangent(const T *n, T *zdot, const T *r_in, int h, int width, const T *gain, const T *bias, const T *gain_dot, const T *bias_dot,
                   T *s_out, T *out, int out_stride, int ph, int pw) {
    using V = typename Of<T>::V;
    constexpr int L = Of<T>::LANES;
    const int count = h * width;
    const V r = load<T>(r_in);
    V sum[2] = {}, sum_n[2] = {};
    int p = 0;
    for (; p + 2 <= count; p += 2) UNROLL for (int j = 0; j < 2; ++j) {
        const V d = load<T>(zdot + (p + j) * L);
        sum[j] += d;
        sum_n[j] += d * load<T>(n + (p + j) * L);
    }
    for (; p < count; ++p) {
        const V d = load<T>(zdot + p * L);
        sum[0] += d;
        sum_n[0] += d * load<T>(n + p * L);
    }
    // mean(n) = 0, so mean(n nu) = r mean(n zdot).
    const V mean = (sum[0] + sum[1]) / (T)count, s = r * (sum_n[0] + sum_n[1]) / (T)count;
    store<T>(s_out, s);
    for (p = 0; p < count; ++p) store<T>(zdot + p * L, (load<T>(zdot + p * L) - mean) * r - load<T>(n + p * L) * s);
    const V g = load<T>(gain), b = load<T>(bias), gd = load<T>(gain_dot), bd = load<T>(bias_dot), zero = {};
    for (int y = 0; y < ph; ++y)
        for (int c = 0; c < pw; ++c) {
            V pooled = {};
            UNROLL for (int j = 0; j < 4; ++j) {
                const size_t at = (size_t)((2 * y + j / 2) * width + 2 * c + j % 2) * L;
                const V x = load<T>(n + at);
                pooled += (g * x + b) > zero ? gd * x + g * load<T>(zdot + at) + bd : zero;
            }
            store<T>(out + (size_t)(y * out_stride + c) * L, pooled * T(0.25));
        }
}

// Tangent of block_backward: writes zbar and its tangent; adds to the tangents of the gradients of gain and bias.
template <class T>
void block_second(const T *n, const T *ndot, const T *pooled, const T *pooled_dot, const T *r_in, const T *s_in, int h, int width, int ph, int pw,
                  const T *gain, const T *bias, const T *gain_dot, T *zbar, T *zbar_dot, T *dgain, T *dbias) {
    using V = typename Of<T>::V;
    constexpr int L = Of<T>::LANES;
    const V g = load<T>(gain), b = load<T>(bias), gd = load<T>(gain_dot), zero = {}, r = load<T>(r_in), s = load<T>(s_in);
    V a0 = {}, an = {}, d0 = {}, dn = {}, am = {};
    for (int y = 0; y < ph; ++y)
        for (int c = 0; c < pw; ++c) {
            const V t = load<T>(pooled + (size_t)(y * pw + c) * L) * T(0.25), td = load<T>(pooled_dot + (size_t)(y * pw + c) * L) * T(0.25);
            UNROLL for (int j = 0; j < 4; ++j) {
                const size_t at = (size_t)((2 * y + j / 2) * width + 2 * c + j % 2) * L;
                const V x = load<T>(n + at);
                const auto on = (g * x + b) > zero;
                const V a = on ? t : zero, d = on ? td : zero;
                a0 += a;
                an += a * x;
                d0 += d;
                dn += d * x;
                am += a * load<T>(ndot + at);
            }
        }
    store<T>(dgain, load<T>(dgain) + dn + am);
    store<T>(dbias, load<T>(dbias) + d0);
    // Means of gb = g a, gb n, gbdot = gd a + g d, and gbdot n + gb ndot.
    const T share = T(1) / (T)(h * width);
    const V m_gb = g * a0 * share, m_gbn = g * an * share, m_gbd = (gd * a0 + g * d0) * share, m_mix = (gd * an + g * dn + g * am) * share;
    const size_t corner = (size_t)(width + 3) * L;
    for (int y = 0; y < h; ++y)
        for (int c = 0; c < width; ++c) {
            const size_t at = (size_t)(y * width + c) * L, to = corner + (size_t)(y * (width + 2) + c) * L;
            const V x = load<T>(n + at), xd = load<T>(ndot + at);
            V q = -m_gb - x * m_gbn, qd = -m_gbd - xd * m_gbn - x * m_mix;
            if (y < 2 * ph && c < 2 * pw) {
                const size_t half = (size_t)(y / 2 * pw + c / 2) * L;
                const auto on = (g * x + b) > zero;
                const V a = on ? load<T>(pooled + half) * T(0.25) : zero, d = on ? load<T>(pooled_dot + half) * T(0.25) : zero;
                q += g * a;
                qd += gd * a + g * d;
            }
            store<T>(zbar + to, r * q);
            store<T>(zbar_dot + to, r * (qd - s * q));
        }
}

// ---------------------------------------------------------------- the network

struct Layer {
    int ib, in_blocks, out_blocks, hin, win, pad, hp, wp, h, w, ph, pw;
    size_t weight, gain, bias, weights;       // offsets into the packed parameters, and their number
    size_t x, n, r, pooled;                   // offsets into a sample's tape; x, but for the images, into a sample's inputs
    size_t x_size, n_size, p_size, z_size;    // sizes per sample; z has a halo
};

template <class T> struct Net {
    static constexpr int L = Of<T>::LANES;
    using V = typename Of<T>::V;
    std::vector<Layer> layers;
    int channels, classes, class_pad, image_vectors;
    size_t features, head, head_bias, parameters;
    size_t tape_features, tape_p, tape_delta, tape_size, input_size = 0;
    Buffer<T> tape, inputs, zbar, zbar_dot, ndot, xdot, pooled_dot, stat, back, back_dot, image, image_dot, columns, dx_pad, delta_dot;
    size_t budget;

    Net(int depth, int width, int c, int height, int columns_, int k, const int *pads, size_t bytes) : channels(c), classes(k), budget(bytes) {
        if (depth > MAX_DEPTH) throw std::bad_alloc();
        size_t at = 0, tape_at = 0;
        int h = height, w = columns_;
        for (int d = 0; d < depth; ++d) {
            Layer l;
            l.ib = d ? L : c;
            l.in_blocks = d ? blocks(width, L) : 1;
            l.out_blocks = blocks(width, L);
            l.hin = h, l.win = w, l.pad = pads[d];
            l.hp = h + 2 * l.pad, l.wp = w + 2 * l.pad;
            l.h = l.hp - 2, l.w = l.wp - 2;
            l.ph = l.h / 2, l.pw = l.w / 2;
            l.weights = (size_t)l.out_blocks * l.in_blocks * 9 * l.ib * L;
            l.weight = at;
            at += l.weights + (size_t)l.out_blocks * L;  // the inert conv bias lies between
            l.gain = at;
            at += (size_t)l.out_blocks * L;
            l.bias = at;
            at += (size_t)l.out_blocks * L;
            l.x_size = ((size_t)l.in_blocks * l.hp * l.wp * l.ib + L - 1) / L * L;
            l.n_size = (size_t)l.out_blocks * l.h * l.w * L;
            l.p_size = (size_t)l.out_blocks * l.ph * l.pw * L;
            l.z_size = (size_t)l.out_blocks * (l.h + 2) * (l.w + 2) * L;
            l.x = d ? input_size : tape_at;
            (d ? input_size : tape_at) += l.x_size;
            l.n = tape_at;
            tape_at += l.n_size;
            l.r = tape_at;
            tape_at += (size_t)l.out_blocks * L;
            l.pooled = tape_at;
            tape_at += l.p_size;
            h = l.ph, w = l.pw;
            layers.push_back(l);
        }
        features = layers.back().p_size;
        class_pad = blocks(classes, L) * L;
        head = at;
        at += (size_t)classes * features;
        head_bias = at;
        parameters = at + class_pad;
        tape_features = tape_at;
        tape_p = tape_features + features;
        tape_delta = tape_p + class_pad;
        tape_size = tape_delta + class_pad;
        image_vectors = blocks(9 * c, L);
    }

    size_t z_total() const {
        size_t sum = 0;
        for (auto &l : layers) sum += l.z_size;
        return sum;
    }

    // Samples per micro-batch: as many as keep their intermediate tensors within the byte budget.
    int micro(int n) const {
        const size_t each = sizeof(T) * (tape_size + input_size + 3 * z_total());
        return (int)std::max<size_t>(1, std::min<size_t>(n, budget / each));
    }

    // Transposed weights of all layers but the first.
    T *turned(const T *theta, Buffer<T> &into) {
        size_t sum = 0;
        for (size_t d = 1; d < layers.size(); ++d) sum += layers[d].weights;
        T *to = into.need(sum + 1), *at = to;
        for (size_t d = 1; d < layers.size(); ++d) {
            transpose_weights<T>(theta + layers[d].weight, layers[d].in_blocks, layers[d].out_blocks, at);
            at += layers[d].weights;
        }
        return to;
    }

    void put_images(const T *images, int count, T *tape_at) const {
        const Layer &l = layers[0];
        for (int s = 0; s < count; ++s) {
            T *x = tape_at + s * tape_size + l.x;
            std::memset(x, 0, sizeof(T) * l.x_size);
            for (int c = 0; c < channels; ++c)
                for (int y = 0; y < l.hin; ++y)
                    for (int i = 0; i < l.win; ++i)
                        x[((size_t)(y + l.pad) * l.wp + i + l.pad) * channels + c] = images[((size_t)(s * channels + c) * l.hin + y) * l.win + i];
        }
    }

    // Where a layer reads its input, and the distance between samples. Only the images are on the tape; other inputs lie
    // in scratch memory (whose padding nobody writes) and are made again from n where the tape is used later.
    const T *input(size_t d, const T *tape_at, size_t &stride) const {
        stride = d ? layers[d].x_size : tape_size;
        return d ? inputs.data + layers[d].x * capacity : tape_at + layers[d].x;
    }

    // Where a block of a layer writes its pooled output, and the distance between rows.
    T *output(size_t d, size_t s, int b, T *tape_at, int &stride) const {
        const Layer &l = layers[d];
        if (d + 1 == layers.size()) {
            stride = l.pw;
            return tape_at + s * tape_size + tape_features + (size_t)b * l.ph * l.pw * L;
        }
        const Layer &next = layers[d + 1];
        stride = next.wp;
        return inputs.data + next.x * capacity + s * next.x_size + ((size_t)b * next.hp * next.wp + (size_t)next.pad * next.wp + next.pad) * L;
    }

    // The inputs of a micro-batch whose tape was kept.
    void restore(const T *theta, int count, T *tape_at) {
        inputs.need(input_size * capacity + 1);
        for (size_t d = 0; d + 1 < layers.size(); ++d) {
            const Layer &l = layers[d];
            for (int s = 0; s < count; ++s)
                for (int b = 0; b < l.out_blocks; ++b) {
                    int stride;
                    T *out = output(d, s, b, tape_at, stride);
                    pool<T>(tape_at + s * tape_size + l.n + (size_t)b * l.h * l.w * L, l.w, theta + l.gain + b * L, theta + l.bias + b * L, out, stride, l.ph, l.pw);
                }
        }
    }

    // All blocks of one micro-batch.
    void forward(const T *theta, const T *images, int count, T *tape_at) {
        put_images(images, count, tape_at);
        inputs.need(input_size * capacity + 1);
        for (size_t d = 0; d < layers.size(); ++d) {
            const Layer &l = layers[d];
            size_t x_stride;
            const T *x = input(d, tape_at, x_stride);
            conv<T>(x, x_stride, l.hp, l.wp, l.in_blocks, l.ib, theta + l.weight, tape_at + l.n, tape_size, l.h, l.w, l.out_blocks, count, true);
            for (int s = 0; s < count; ++s)
                for (int b = 0; b < l.out_blocks; ++b) {
                    int stride;
                    T *out = output(d, s, b, tape_at, stride), *n = tape_at + s * tape_size + l.n + (size_t)b * l.h * l.w * L;
                    normalise<T>(n, l.h * l.w, tape_at + s * tape_size + l.r + b * L);
                    pool<T>(n, l.w, theta + l.gain + b * L, theta + l.bias + b * L, out, stride, l.ph, l.pw);
                }
        }
    }

    // Forward and gradient of one micro-batch; the tape keeps what the Hessian-vector product needs. Without `weights`
    // the gradients of the convolutions' weights are left out.
    double sweep(const T *theta, const T *turned_weights, const T *images, const T *labels, int count, T scale, T *grad, bool weights, T *tape_at) {
        forward(theta, images, count, tape_at);
        double loss = head_forward(theta, labels, count, scale, tape_at);
        head_backward(theta, count, grad, tape_at);
        T *z = zbar.need(z_total() * (size_t)capacity);
        size_t turned_at = 0;
        for (size_t d = 1; d < layers.size(); ++d) turned_at += layers[d].weights;
        for (size_t d = layers.size(); d-- > 0;) {
            const Layer &l = layers[d];
            T *zl = z + z_offset(d) * capacity;
            for (int s = 0; s < count; ++s) {
                T *sample = tape_at + s * tape_size;
                for (int b = 0; b < l.out_blocks; ++b)
                    block_backward<T>(sample + l.n + (size_t)b * l.h * l.w * L, sample + l.pooled + (size_t)b * l.ph * l.pw * L, sample + l.r + b * L, l.h, l.w, l.ph, l.pw,
                                      theta + l.gain + b * L, theta + l.bias + b * L, zl + s * l.z_size + (size_t)b * (l.h + 2) * (l.w + 2) * L, grad + l.gain + b * L, grad + l.bias + b * L);
            }
            size_t x_stride;
            const T *x = input(d, tape_at, x_stride);
            if (weights) conv_weights<T>(x, x_stride, l.hp, l.wp, l.in_blocks, l.ib, zl, l.z_size, l.h, l.w, l.out_blocks, count, d == 0, grad + l.weight);
            if (d) {
                turned_at -= l.weights;
                conv<T>(zl, l.z_size, l.h + 2, l.w + 2, l.out_blocks, L, turned_weights + turned_at, tape_at + layers[d - 1].pooled, tape_size, l.hin, l.win, l.in_blocks, count, true);
            }
        }
        return loss;
    }

    int capacity = 0;  // samples the scratch buffers are laid out for
    size_t z_offset(size_t d) const {
        size_t sum = 0;
        for (size_t e = 0; e < d; ++e) sum += layers[e].z_size;
        return sum;
    }

    T dot(const T *a, const T *b) const {
        V sum[2] = {};
        size_t i = 0;
        for (; i + 2 * L <= features; i += 2 * L) UNROLL for (int j = 0; j < 2; ++j) sum[j] += load<T>(a + i + j * L) * load<T>(b + i + j * L);
        for (; i < features; i += L) sum[0] += load<T>(a + i) * load<T>(b + i);
        return total<T>(sum[0] + sum[1]);
    }
    void axpy(T factor, const T *a, T *to) const {
        for (size_t i = 0; i < features; i += L) store<T>(to + i, load<T>(to + i) + factor * load<T>(a + i));
    }

    double head_forward(const T *theta, const T *labels, int count, T scale, T *tape_at) const {
        double loss = 0;
        for (int k = 0; k < classes; ++k)
            for (int s = 0; s < count; ++s) {
                T *sample = tape_at + s * tape_size;
                sample[tape_p + k] = dot(theta + head + k * features, sample + tape_features) + theta[head_bias + k];
            }
        for (int s = 0; s < count; ++s) {
            T *p = tape_at + s * tape_size + tape_p, *delta = tape_at + s * tape_size + tape_delta;
            const T *y = labels + (size_t)s * classes;
            T top = p[0], sum = 0, mass = 0;
            for (int k = 1; k < classes; ++k) top = std::max(top, p[k]);
            for (int k = 0; k < classes; ++k) sum += std::exp(p[k] - top), mass += y[k];
            const T log_sum = std::log(sum) + top;
            for (int k = 0; k < classes; ++k) {
                const T log_p = p[k] - log_sum;
                loss -= (double)y[k] * (double)log_p;
                p[k] = std::exp(log_p);
                delta[k] = (p[k] * mass - y[k]) * scale;
            }
        }
        return loss * (double)scale;
    }

    void head_backward(const T *theta, int count, T *grad, T *tape_at) const {
        const Layer &last = layers.back();
        for (int s = 0; s < count; ++s) std::memset(tape_at + s * tape_size + last.pooled, 0, sizeof(T) * features);
        for (int k = 0; k < classes; ++k)
            for (int s = 0; s < count; ++s) {
                T *sample = tape_at + s * tape_size;
                const T d = sample[tape_delta + k];
                axpy(d, sample + tape_features, grad + head + k * features);
                axpy(d, theta + head + k * features, sample + last.pooled);
                grad[head_bias + k] += d;
            }
    }

    // Runs the blocks on n images, micro-batch by micro-batch, and hands the features of every image to ``use(image, features)``.
    template <class Use> void embed(const T *theta, const T *images, int n, Use use) {
        const int step = micro(n);
        if (step > capacity) capacity = step;
        T *scratch = tape.need(tape_size * (size_t)step);
        const size_t pixels = (size_t)channels * layers[0].hin * layers[0].win;
        for (int s = 0; s < n; s += step) {
            const int count = std::min(step, n - s);
            forward(theta, images + s * pixels, count, scratch);
            for (int c = 0; c < count; ++c) use((size_t)(s + c), scratch + c * tape_size + tape_features);
        }
    }

    void logits(const T *theta, const T *images, int n, T *out) {
        embed(theta, images, n, [&](size_t image, const T *f) {
            for (int k = 0; k < classes; ++k) out[image * classes + k] = dot(theta + head + k * features, f) + theta[head_bias + k];
        });
    }

    void embeddings(const T *theta, const T *images, int n, T *out) {
        embed(theta, images, n, [&](size_t image, const T *f) { std::memcpy(out + image * features, f, sizeof(T) * features); });
    }

    double gradient(const T *theta, const T *images, const T *labels, int n, T scale, T *grad, T *saved) {
        const int step = micro(n);
        if (step > capacity) capacity = step;
        T *scratch = saved ? nullptr : tape.need(tape_size * (size_t)step);
        const T *turned_weights = turned(theta, back);
        double loss = 0;
        const size_t pixels = (size_t)channels * layers[0].hin * layers[0].win;
        for (int s = 0; s < n; s += step)
            loss += sweep(theta, turned_weights, images + s * pixels, labels + (size_t)s * classes, std::min(step, n - s), scale, grad, true, saved ? saved + s * tape_size : scratch);
        return loss;
    }

    void product(const T *theta, const T *dir, const T *images, const T *labels, int n, T scale, T *saved, T *out, T *dx, T *dy) {
        const int step = micro(n);
        if (step > capacity) capacity = step;
        T *scratch = saved ? nullptr : tape.need(tape_size * (size_t)step);
        const T *w_back = turned(theta, back), *d_back = turned(dir, back_dot);
        const Layer &first = layers[0];
        if (dx) {
            const size_t size = (size_t)first.out_blocks * L * image_vectors * L;
            image_weights<T>(theta + first.weight, first.ib, first.out_blocks, image_vectors, image.need(size));
            image_weights<T>(dir + first.weight, first.ib, first.out_blocks, image_vectors, image_dot.need(size));
        }
        const size_t pixels = (size_t)channels * first.hin * first.win;
        for (int s = 0; s < n; s += step) {
            const int count = std::min(step, n - s);
            T *tape_at = saved ? saved + s * tape_size : scratch;
            if (saved) restore(theta, count, tape_at);
            else {
                sweep(theta, w_back, images + s * pixels, labels + (size_t)s * classes, count, scale, unread.need(parameters), false, tape_at);
            }
            second(theta, dir, w_back, d_back, labels + (size_t)s * classes, count, scale, tape_at, out, dx ? dx + s * pixels : nullptr, dy ? dy + (size_t)s * classes : nullptr);
        }
    }
    Buffer<T> unread;  // first-order gradients of a recomputed micro-batch

    // Tangents of forward and gradient of one micro-batch whose tape is known.
    void second(const T *theta, const T *dir, const T *w_back, const T *d_back, const T *labels, int count, T scale, const T *tape_at, T *out, T *dx, T *dy) {
        const size_t depth = layers.size();
        size_t n_at[MAX_DEPTH], x_at[MAX_DEPTH + 1], p_at[MAX_DEPTH], r_at[MAX_DEPTH], w_at[MAX_DEPTH];
        size_t n_total = 0, x_total = 0, p_total = 0, r_total = 0, weights = 0;
        for (size_t d = 0; d < depth; ++d) {
            const Layer &l = layers[d];
            n_at[d] = n_total, n_total += l.n_size;
            x_at[d] = x_total, x_total += d ? l.x_size : 0;
            p_at[d] = p_total, p_total += l.p_size;
            r_at[d] = r_total, r_total += (size_t)l.out_blocks * L;
            w_at[d] = weights, weights += d ? l.weights : 0;
        }
        x_at[depth] = x_total, x_total += features;
        const size_t cap = capacity;
        T *nd = ndot.need(n_total * cap), *xd = xdot.need(x_total * cap), *pd = pooled_dot.need(p_total * cap), *st = stat.need(r_total * cap);
        T *z = zbar.need(z_total() * cap), *zd = zbar_dot.need(z_total() * cap);
        for (size_t d = 0; d < depth; ++d) {
            const Layer &l = layers[d];
            T *to = nd + n_at[d] * cap;
            size_t x_stride;
            const T *x = input(d, tape_at, x_stride);
            conv<T>(x, x_stride, l.hp, l.wp, l.in_blocks, l.ib, dir + l.weight, to, l.n_size, l.h, l.w, l.out_blocks, count, true);
            if (d) conv<T>(xd + x_at[d] * cap, l.x_size, l.hp, l.wp, l.in_blocks, l.ib, theta + l.weight, to, l.n_size, l.h, l.w, l.out_blocks, count, false);
            const bool last = d + 1 == depth;
            for (int s = 0; s < count; ++s) {
                const T *sample = tape_at + s * tape_size;
                for (int b = 0; b < l.out_blocks; ++b) {
                    T *x_out;
                    int stride = l.pw;
                    if (last) x_out = xd + x_at[depth] * cap + s * features + (size_t)b * l.ph * l.pw * L;
                    else {
                        const Layer &next = layers[d + 1];
                        stride = next.wp;
                        x_out = xd + x_at[d + 1] * cap + s * next.x_size + ((size_t)b * next.hp * next.wp + (size_t)next.pad * next.wp + next.pad) * L;
                    }
                    block_tangent<T>(sample + l.n + (size_t)b * l.h * l.w * L, to + s * l.n_size + (size_t)b * l.h * l.w * L, sample + l.r + b * L, l.h, l.w, theta + l.gain + b * L,
                                     theta + l.bias + b * L, dir + l.gain + b * L, dir + l.bias + b * L, st + r_at[d] * cap + (size_t)(s * l.out_blocks + b) * L, x_out, stride, l.ph, l.pw);
                }
            }
        }
        head_second(theta, dir, labels, count, scale, tape_at, xd + x_at[depth] * cap, pd + p_at[depth - 1] * cap, out, dy);
        for (size_t d = depth; d-- > 0;) {
            const Layer &l = layers[d];
            T *zl = z + z_offset(d) * cap, *zdl = zd + z_offset(d) * cap;
            for (int s = 0; s < count; ++s) {
                const T *sample = tape_at + s * tape_size;
                for (int b = 0; b < l.out_blocks; ++b) {
                    const size_t at = (size_t)b * l.h * l.w * L, halo = s * l.z_size + (size_t)b * (l.h + 2) * (l.w + 2) * L, half = (size_t)b * l.ph * l.pw * L;
                    block_second<T>(sample + l.n + at, nd + n_at[d] * cap + s * l.n_size + at, sample + l.pooled + half, pd + p_at[d] * cap + s * l.p_size + half, sample + l.r + b * L,
                                    st + r_at[d] * cap + (size_t)(s * l.out_blocks + b) * L, l.h, l.w, l.ph, l.pw, theta + l.gain + b * L, theta + l.bias + b * L, dir + l.gain + b * L,
                                    zl + halo, zdl + halo, out + l.gain + b * L, out + l.bias + b * L);
                }
            }
            size_t x_stride;
            const T *x = input(d, tape_at, x_stride);
            conv_weights<T>(x, x_stride, l.hp, l.wp, l.in_blocks, l.ib, zdl, l.z_size, l.h, l.w, l.out_blocks, count, d == 0, out + l.weight);
            if (d) {
                conv_weights<T>(xd + x_at[d] * cap, l.x_size, l.hp, l.wp, l.in_blocks, l.ib, zl, l.z_size, l.h, l.w, l.out_blocks, count, false, out + l.weight);
                T *to = pd + p_at[d - 1] * cap;
                conv<T>(zdl, l.z_size, l.h + 2, l.w + 2, l.out_blocks, L, w_back + w_at[d], to, layers[d - 1].p_size, l.hin, l.win, l.in_blocks, count, true);
                conv<T>(zl, l.z_size, l.h + 2, l.w + 2, l.out_blocks, L, d_back + w_at[d], to, layers[d - 1].p_size, l.hin, l.win, l.in_blocks, count, false);
            } else if (dx)
                for (int s = 0; s < count; ++s) image_gradient(zl + s * l.z_size, zdl + s * l.z_size, dx + (size_t)s * channels * l.hin * l.win);
        }
    }

    // dX = transposed convolution of zbar_dot with w plus zbar with wdot, through columns that are folded at once.
    void image_gradient(const T *z, const T *zd, T *dx) {
        const Layer &l = layers[0];
        const size_t row = (size_t)image_vectors * L, block = (size_t)(l.h + 2) * (l.w + 2) * L;
        T *col = columns.need(row * TILE), *pad = dx_pad.need(l.x_size);
        std::memset(pad, 0, sizeof(T) * l.x_size);
        for (int y = 0; y < l.h; ++y)
            for (int c = 0; c < l.w; c += TILE) {
                const size_t at = (size_t)((y + 1) * (l.w + 2) + c + 1) * L;
                const int some = std::min(TILE, l.w - c);
                if (some == TILE) {
                    image_columns<T, TILE>(zd + at, block, l.out_blocks, image.data, image_vectors, col, true);
                    image_columns<T, TILE>(z + at, block, l.out_blocks, image_dot.data, image_vectors, col, false);
                } else
                    for (int p = 0; p < some; ++p) {
                        image_columns<T, 1>(zd + at + p * L, block, l.out_blocks, image.data, image_vectors, col + p * row, true);
                        image_columns<T, 1>(z + at + p * L, block, l.out_blocks, image_dot.data, image_vectors, col + p * row, false);
                    }
                for (int p = 0; p < some; ++p)
                    for (int ky = 0; ky < 3; ++ky) {
                        T *to = pad + ((size_t)(y + ky) * l.wp + c + p) * channels;
                        const T *from = col + p * row + ky * 3 * channels;
                        for (int k = 0; k < 3 * channels; ++k) to[k] += from[k];
                    }
            }
        for (int c = 0; c < channels; ++c)
            for (int y = 0; y < l.hin; ++y)
                for (int i = 0; i < l.win; ++i) dx[((size_t)c * l.hin + y) * l.win + i] = pad[((size_t)(y + l.pad) * l.wp + i + l.pad) * channels + c];
    }

    void head_second(const T *theta, const T *dir, const T *labels, int count, T scale, const T *tape_at, const T *fdot, T *pd, T *out, T *dy) {
        T *dd = delta_dot.need((size_t)class_pad * capacity);
        for (int k = 0; k < classes; ++k)
            for (int s = 0; s < count; ++s) {
                const T *f = tape_at + s * tape_size + tape_features;
                dd[(size_t)s * class_pad + k] = dot(theta + head + k * features, fdot + s * features) + dot(dir + head + k * features, f) + dir[head_bias + k];
            }
        for (int s = 0; s < count; ++s) {
            T *o = dd + (size_t)s * class_pad;
            const T *p = tape_at + s * tape_size + tape_p, *y = labels + (size_t)s * classes;
            T mean = 0, mass = 0;
            for (int k = 0; k < classes; ++k) mean += p[k] * o[k], mass += y[k];
            for (int k = 0; k < classes; ++k) {
                const T moved = (o[k] - mean) * scale;
                if (dy) dy[(size_t)s * classes + k] = -moved;
                o[k] = p[k] * moved * mass;
            }
        }
        for (int s = 0; s < count; ++s) std::memset(pd + s * features, 0, sizeof(T) * features);
        for (int k = 0; k < classes; ++k)
            for (int s = 0; s < count; ++s) {
                const T *sample = tape_at + s * tape_size;
                const T d = sample[tape_delta + k], d_dot = dd[(size_t)s * class_pad + k];
                axpy(d_dot, sample + tape_features, out + head + k * features);
                axpy(d, fdot + s * features, out + head + k * features);
                axpy(d_dot, theta + head + k * features, pd + s * features);
                axpy(d, dir + head + k * features, pd + s * features);
                out[head_bias + k] += d_dot;
            }
    }
};

// ---------------------------------------------------------------- Adam on flat vectors

// theta' = theta - rate m' / (sqrt(v') + eps); the outputs may be the inputs.
template <class T>
void adam(size_t count, const T *theta, const T *m, const T *v, const T *g, T *theta_out, T *m_out, T *v_out, double rate_, double eps_, double beta1, double beta2) {
    // 1 - beta in double: in float 1 - 0.999f is off by 2e-5.
    const T rate = rate_, eps = eps_, b1 = beta1, b2 = beta2, c1 = 1.0 - beta1, c2 = 1.0 - beta2;
#pragma GCC ivdep
    for (size_t i = 0; i < count; ++i) {
        const T first = b1 * m[i] + c1 * g[i], second = b2 * v[i] + c2 * (g[i] * g[i]);
        m_out[i] = first, v_out[i] = second;
        theta_out[i] = theta[i] - rate * first / (std::sqrt(second) + eps);
    }
}

// The step in reverse, in place on the moments' cotangents; returns sum(theta_bar m' d), d = 1 / (sqrt(v') + eps).
template <class T>
double adam_reverse(size_t count, const T *m, const T *v, const T *g, const T *theta_bar, T *m_bar, T *v_bar, T *through, double rate_, double eps_, double beta1,
                    double beta2) {
    constexpr size_t CHUNK = 512;
    T moved[CHUNK];
    const T rate = rate_, eps = eps_, b1 = beta1, b2 = beta2, c1 = 1.0 - beta1, c2 = 2.0 * (1.0 - beta2), half = 0.5 * rate_;
    double sum = 0;
    for (size_t start = 0; start < count; start += CHUNK) {
        const size_t some = std::min(CHUNK, count - start);
#pragma GCC ivdep
        for (size_t j = 0; j < some; ++j) {
            const size_t i = start + j;
            const T root = std::sqrt(v[i]), d = T(1) / (root + eps), slope = theta_bar[i] * d;
            const T first = m_bar[i] - rate * slope;
            moved[j] = slope * m[i];
            const T curve = moved[j] * d / (root > T(0) ? root : T(1));
            const T second = v_bar[i] + (root > T(0) ? half * curve : T(0));
            through[i] = c1 * first + c2 * (g[i] * second);
            m_bar[i] = b1 * first, v_bar[i] = b2 * second;
        }
        T partial = 0;
        for (size_t j = 0; j < some; ++j) partial += moved[j];
        sum += (double)partial;
    }
    return sum;
}

struct Handle {
    bool wide;
    void *net;
};

}  // namespace

#define WITH(handle, body)                                              \
    auto *h_ = static_cast<Handle *>(handle);                           \
    try {                                                               \
        if (h_->wide) { using T = double; auto &net = *static_cast<Net<T> *>(h_->net); body } \
        else { using T = float; auto &net = *static_cast<Net<T> *>(h_->net); body }           \
    } catch (...) { return -1; }                                        \
    return 0;

extern "C" {

void *ddbench_create(int wide, int depth, int width, int channels, int height, int columns, int classes, const int *pads, size_t bytes) {
    try {
        void *net = wide ? static_cast<void *>(new Net<double>(depth, width, channels, height, columns, classes, pads, bytes))
                         : static_cast<void *>(new Net<float>(depth, width, channels, height, columns, classes, pads, bytes));
        return new Handle{wide != 0, net};
    } catch (...) { return nullptr; }
}

void ddbench_destroy(void *handle) {
    auto *h = static_cast<Handle *>(handle);
    if (h->wide) delete static_cast<Net<double> *>(h->net);
    else delete static_cast<Net<float> *>(h->net);
    delete h;
}

int ddbench_lanes(int wide) { return wide ? Of<double>::LANES : Of<float>::LANES; }

// Numbers of packed parameters and of tape per sample.
int ddbench_sizes(void *handle, size_t *parameters, size_t *tape) { WITH(handle, { *parameters = net.parameters; *tape = net.tape_size; }) }

// grad += scale * sum of the samples' gradients; loss = scale * sum of their losses.
int ddbench_gradient(void *handle, const void *theta, const void *images, const void *labels, int n, double scale, void *grad, void *tape, double *loss) {
    WITH(handle, { *loss = net.gradient((const T *)theta, (const T *)images, (const T *)labels, n, (T)scale, (T *)grad, (T *)tape); })
}

int ddbench_logits(void *handle, const void *theta, const void *images, int n, void *out) {
    WITH(handle, { net.logits((const T *)theta, (const T *)images, n, (T *)out); })
}

// The inputs of the last layer, in the order of a row of its packed weights.
int ddbench_features(void *handle, const void *theta, const void *images, int n, void *out) {
    WITH(handle, { net.embeddings((const T *)theta, (const T *)images, n, (T *)out); })
}

// out += Hessian times direction; dx, dy = tangents of the gradients of images and labels (either may be null).
int ddbench_product(void *handle, const void *theta, const void *direction, const void *images, const void *labels, int n, double scale, void *tape, void *out, void *dx,
                    void *dy) {
    WITH(handle, { net.product((const T *)theta, (const T *)direction, (const T *)images, (const T *)labels, n, (T)scale, (T *)tape, (T *)out, (T *)dx, (T *)dy); })
}

void ddbench_adam(int wide, size_t count, const void *theta, const void *m, const void *v, const void *g, void *theta_out, void *m_out, void *v_out, double rate, double eps,
                  double b1, double b2) {
    if (wide) adam<double>(count, (const double *)theta, (const double *)m, (const double *)v, (const double *)g, (double *)theta_out, (double *)m_out, (double *)v_out, rate, eps, b1, b2);
    else adam<float>(count, (const float *)theta, (const float *)m, (const float *)v, (const float *)g, (float *)theta_out, (float *)m_out, (float *)v_out, rate, eps, b1, b2);
}

double ddbench_adam_reverse(int wide, size_t count, const void *m, const void *v, const void *g, const void *theta_bar, void *m_bar, void *v_bar, void *through, double rate,
                            double eps, double b1, double b2) {
    if (wide) return adam_reverse<double>(count, (const double *)m, (const double *)v, (const double *)g, (const double *)theta_bar, (double *)m_bar, (double *)v_bar, (double *)through, rate, eps, b1, b2);
    return adam_reverse<float>(count, (const float *)m, (const float *)v, (const float *)g, (const float *)theta_bar, (float *)m_bar, (float *)v_bar, (float *)through, rate, eps, b1, b2);
}
}
