/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_score.cu - what scores of many heads are made of: mean and covariance of queries, quadratic forms of keys.
 *
 * All heads of all layers in one launch, and nothing stored but the results. Products run on tensor cores: a float is
 * the sum of three bf16 numbers (24 bits), and of the nine products of two such sums the six that matter in f32 are
 * taken. What a product of 16 rows leaves is added to the sum by an ordinary addition, since tensor cores cut off what
 * they add. Every sum has a fixed order: a head's bits do not depend on the others. Rejected: FMAs (three times the
 * time), TF32 in three products (the same time, without ldmatrix for transposed operands), products and reductions one
 * after the other (centred queries alone are 0.8 GB for 1,500 tokens of an 8B model).
 */
#include "attention_mma.cuh"
#include "tensor.cuh"

using namespace kvb;

namespace {
using attention::load4;
using attention::load4_transposed;

/* A block of 2 x 2 warps has a tile of SIDE x SIDE and takes DEPTH of the other dimension at a time. */
enum { SIDE = 64, DEPTH = 16, THREADS = 128, TERMS = 3, COLUMNS = 32, STRANDS = 8 };
static const int64_t FOLDED_BYTES = 256 << 20; /* of scratch memory */
enum { ACROSS = DEPTH * SIDE * 2, ALONG_ROW = DEPTH * 2 + 16, ALONG = SIDE * ALONG_ROW }; /* bytes of one term */

/* Two neighbours as three terms each. */
__device__ __forceinline__ void split(float a, float b, uint32_t (&terms)[TERMS]) {
#pragma unroll
    for (int i = 0; i < TERMS; i++) {
        __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
        terms[i] = *(uint32_t *)&pair;
        a -= __low2float(pair);
        b -= __high2float(pair);
    }
}

/* Place of a 16-byte chunk in [DEPTH][SIDE]: rows apart by XOR, since ldmatrix reads 8 of them at once. */
__device__ __forceinline__ uint32_t across(int row, int chunk) { return row * (SIDE * 2) + (chunk ^ (row & 7)) * 16; }

/* A warp's 32 x 32 of the tile: element (i * 16 + lane / 4 + e / 2 * 8, j * 8 + lane % 4 * 2 + e % 2) at [i][j][e]. */
struct sums {
    float v[2][4][4];
};

__device__ __forceinline__ void clear(sums &s) {
#pragma unroll
    for (int i = 0; i < 32; i++) s.v[i / 16][i / 4 % 4][i % 4] = 0;
}

/* s += a b over one stage; the terms of small products first. */
__device__ __forceinline__ void multiply(const uint32_t (&a)[TERMS][2][4], const uint32_t (&b)[TERMS][2][4], sums &s) {
    constexpr int FIRST[6] = {2, 0, 1, 1, 0, 0}, SECOND[6] = {0, 2, 1, 0, 1, 0};
    sums t;
    clear(t);
#pragma unroll
    for (int p = 0; p < 6; p++)
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                attention::unit<__nv_bfloat16>::mma(t.v[i][j], a[FIRST[p]][i], b[SECOND[p]][j / 2][j % 2 * 2],
                                                    b[SECOND[p]][j / 2][j % 2 * 2 + 1]);
#pragma unroll
    for (int i = 0; i < 32; i++) s.v[i / 16][i / 4 % 4][i % 4] += t.v[i / 16][i / 4 % 4][i % 4];
}

/* Second factor of a warp, columns 32 * half of [DEPTH][SIDE]. */
__device__ __forceinline__ void load_columns(uint32_t from, int half, uint32_t (&b)[TERMS][2][4]) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int t = 0; t < TERMS; t++)
#pragma unroll
        for (int j = 0; j < 2; j++)
            load4_transposed(b[t][j], from + t * ACROSS + across(lane % 16, half * 4 + j * 2 + lane / 16));
}

/* ---- moments ---- */

struct moments {
    const float *x;
    float *mean, *covariance;
    int64_t row, step, mean_step, c_row, c_step;
    int n, d;
    plan<3> at; /* heads: of x, covariance, mean */
};

/* Grid: heads, groups of columns. */
__global__ void __launch_bounds__(COLUMNS *STRANDS) means(const moments o) {
    __shared__ double part[STRANDS][COLUMNS];
    int64_t at[3];
    o.at.locate(blockIdx.x, at);
    int column = threadIdx.x % COLUMNS, strand = threadIdx.x / COLUMNS, d = blockIdx.y * COLUMNS + column;
    double total = 0;
    if (d < o.d) {
        const float *x = o.x + at[0] + d * o.step;
#pragma unroll 8
        for (int r = strand; r < o.n; r += STRANDS) total += (double)x[r * o.row];
    }
    part[strand][column] = total;
    __syncthreads();
    if (strand > 0 || d >= o.d) return;
    for (int i = 1; i < STRANDS; i++) total += part[i][column];
    o.mean[at[2] + d * o.mean_step] = (float)(total / o.n);
}

/* A thread's part of a stage: two neighbouring columns of every fourth row. What is loaded is not touched before it is
 * stored, a stage later: nothing waits for memory meanwhile. */
struct strip {
    const float *x; /* at the first column and this thread's first row */
    bool real[2];
    float mean[2], v[DEPTH / 4][2];

    __device__ __forceinline__ strip(const moments &o, const int64_t (&at)[3], int first) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int d = first + threadIdx.x % 32 * 2 + i;
            real[i] = d < o.d;
            mean[i] = real[i] ? o.mean[at[2] + d * o.mean_step] : 0;
        }
        x = o.x + at[0] + (first + threadIdx.x % 32 * 2) * o.step + threadIdx.x / 32 * o.row;
    }
    /* Rows from `row` on. WIDE: columns lie side by side, in aligned twos. */
    template <bool WIDE> __device__ __forceinline__ void load(const moments &o, int row) {
        const float *from = x + row * o.row;
#pragma unroll
        for (int i = 0; i < DEPTH / 4; i++) {
            bool inside = row + (int)threadIdx.x / 32 + i * 4 < o.n;
            if (WIDE) {
                float2 both = inside && real[1] ? *(const float2 *)from : make_float2(mean[0], mean[1]);
                v[i][0] = both.x, v[i][1] = both.y;
            } else {
#pragma unroll
                for (int j = 0; j < 2; j++) v[i][j] = inside && real[j] ? from[j * o.step] : mean[j];
            }
            from += 4 * o.row;
        }
    }
    /* Less their mean: zeros outside. */
    __device__ __forceinline__ void store(char *to) const {
        int pair = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < DEPTH / 4; i++) {
            uint32_t terms[TERMS];
            split(v[i][0] - mean[0], v[i][1] - mean[1], terms);
#pragma unroll
            for (int t = 0; t < TERMS; t++)
                *(uint32_t *)(to + t * ACROSS + across(threadIdx.x / 32 + i * 4, pair / 4) + pair % 4 * 4) = terms[t];
        }
    }
};

/* Grid: heads * pairs of column tiles, the first not after the second. */
template <bool WIDE> __global__ void __launch_bounds__(THREADS, 4) covariances(const moments o, int pairs) {
    __shared__ __align__(128) char memory[2][2][TERMS * ACROSS];
    int64_t at[3];
    o.at.locate(blockIdx.x / pairs, at);
    int left = 0, right = blockIdx.x % pairs, tiles = (o.d + SIDE - 1) / SIDE;
    while (right >= tiles - left) right -= tiles - left++;
    right += left;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, second = left != right;
    strip a(o, at, left * SIDE), b(o, at, right * SIDE);
    sums s;
    clear(s);
    a.load<WIDE>(o, 0);
    if (second) b.load<WIDE>(o, 0);
    for (int row = 0, now = 0; row < o.n; row += DEPTH, now ^= 1) {
        a.store(memory[now][0]);
        if (second) b.store(memory[now][1]);
        __syncthreads(); /* the other stage's readers have passed the barrier before */
        if (row + DEPTH < o.n) {
            a.load<WIDE>(o, row + DEPTH);
            if (second) b.load<WIDE>(o, row + DEPTH);
        }
        uint32_t from = (uint32_t)__cvta_generic_to_shared(memory[now][0]), u[TERMS][2][4], v[TERMS][2][4];
#pragma unroll
        for (int t = 0; t < TERMS; t++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                load4_transposed(u[t][i], from + t * ACROSS + across(lane % 8 + lane / 16 * 8,
                                                                     warp / 2 * 4 + i * 2 + lane / 8 % 2));
        load_columns(from + second * TERMS * ACROSS, warp % 2, v);
        multiply(u, v, s);
    }
    float scale = 1 / (float)o.n, *y = o.covariance + at[1];
#pragma unroll
    for (int i = 0; i < 32; i++) {
        int p = left * SIDE + warp / 2 * 32 + i / 16 * 16 + lane / 4 + i % 4 / 2 * 8;
        int q = right * SIDE + warp % 2 * 32 + i / 4 % 4 * 8 + lane % 4 * 2 + i % 2;
        if (p > q || q >= o.d) continue; /* the other half is this one, to the bit */
        float v = s.v[i / 16][i / 4 % 4][i % 4] * scale;
        y[p * o.c_row + q * o.c_step] = v;
        y[q * o.c_row + p * o.c_step] = v;
    }
}

/* ---- quadratic ---- */

struct quadratic {
    const float *x, *c, *b;
    float *y;
    int64_t x_row, x_step, c_row, c_step, b_step, y_step;
    int n, d;
    float square, linear;
    plan<4> at; /* heads: of x, c, b, y */
};

/* N elements from k on of a row whose elements lie `step` apart; WIDE: side by side, in aligned fours. */
template <int N, bool WIDE>
__device__ __forceinline__ void along_row(const float *x, int64_t step, bool real, int k, int d, float (&out)[N]) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        if (WIDE) {
            float4 v = real && k + i < d ? *(const float4 *)(x + k + i) : make_float4(0, 0, 0, 0);
            out[i] = v.x, out[i + 1] = v.y, out[i + 2] = v.z, out[i + 3] = v.w;
        } else {
#pragma unroll
            for (int j = i; j < i + 4; j++) out[j] = real && k + j < d ? x[(k + j) * step] : 0;
        }
    }
}

/* x' c x = x' u x with u upper triangular: pairs off the diagonal added up. Stages of u, as the products want them in
 * shared memory, follow each other: for each SIDE columns all DEPTH rows that are not zero. */
enum { FOLDED = TERMS * ACROSS };

__host__ __device__ __forceinline__ int stages_before(int d, int column) { /* columns: multiples of SIDE, or d */
    int whole = column / SIDE;
    return whole * (whole + 1) / 2 * (SIDE / DEPTH) + (column % SIDE ? (d + DEPTH - 1) / DEPTH : 0);
}

/* Grid: heads from `head` on * stages. A warp has four rows of a stage, a lane two neighbouring columns. */
template <bool WIDE>
__global__ void __launch_bounds__(THREADS) folds(const quadratic o, int head, int stages, char *to) {
    int64_t at[4];
    o.at.locate(head + blockIdx.x / stages, at);
    int stage = blockIdx.x % stages, column = 0, lane = threadIdx.x % 32, row = threadIdx.x / 32 * 4;
    while (stages_before(o.d, min(o.d, column + SIDE)) <= stage) column += SIDE;
    int k = (stage - stages_before(o.d, column)) * DEPTH + row;
    const float *c = o.c + at[1];
    float u[4][2];
#pragma unroll
    for (int j = 0; j < 2; j++) {
        float mirrored[4];
        int q = column + lane * 2 + j;
        along_row<4, WIDE>(c + q * o.c_row, o.c_step, q < o.d, k, min(o.d, q), mirrored);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            u[i][j] = q < o.d && k + i <= q ? c[(k + i) * o.c_row + q * o.c_step] : 0;
            if (q < o.d && k + i < q) u[i][j] += mirrored[i];
        }
    }
    to += (int64_t)blockIdx.x * FOLDED;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t terms[TERMS];
        split(u[i][0], u[i][1], terms);
#pragma unroll
        for (int t = 0; t < TERMS; t++)
            *(uint32_t *)(to + t * ACROSS + across(row + i, lane / 4) + lane % 4 * 4) = terms[t];
    }
}

/* Grid: heads from `head` on * row tiles. folded: of those heads, by `folds`. */
template <bool WIDE>
__global__ void __launch_bounds__(THREADS, 3) quadratics(const quadratic o, int head, int stages, const char *folded) {
    __shared__ __align__(128) char rows[2][TERMS * ALONG], columns[2][FOLDED];
    __shared__ float halves[SIDE];
    unsigned tiles = (unsigned)(o.n + SIDE - 1) / SIDE;
    int64_t at[4];
    o.at.locate(head + blockIdx.x / tiles, at);
    int first = (int)(blockIdx.x % tiles) * SIDE, id = threadIdx.x, lane = id % 32, warp = id / 32, now = 0;
    const float *x = o.x + at[0], *b = o.b + at[2];
    const float *mine = x + (first + id / 4) * o.x_row; /* and the row 32 further on, four elements each */
    folded += (int64_t)(blockIdx.x / tiles) * stages * FOLDED + id * 16;
    float next_x[2][4], total[2][2] = {};
    auto load = [&](int k) {
#pragma unroll
        for (int i = 0; i < 2; i++)
            along_row<4, WIDE>(mine + i * 32 * o.x_row, o.x_step, first + id / 4 + i * 32 < o.n, k + id % 4 * 4, o.d,
                               next_x[i]);
    };
    auto fetch = [&](int to) {
        uint32_t place = (uint32_t)__cvta_generic_to_shared(columns[to]) + id * 16;
#pragma unroll
        for (int i = 0; i < FOLDED / (THREADS * 16); i++)
            attention::copy16(place + i * THREADS * 16, folded + i * THREADS * 16, true);
        attention::commit();
        folded += FOLDED;
    };
    load(0);
    fetch(0);
    for (int column = 0; column < o.d; column += SIDE) {
        int deep = min(o.d, column + SIDE); /* below it, u is zero in these columns */
        sums s;
        clear(s);
        for (int k = 0; k < deep; k += DEPTH, now ^= 1) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                uint32_t low[TERMS], high[TERMS];
                split(next_x[i][0], next_x[i][1], low);
                split(next_x[i][2], next_x[i][3], high);
#pragma unroll
                for (int t = 0; t < TERMS; t++)
                    *(uint2 *)(rows[now] + t * ALONG + (id / 4 + i * 32) * ALONG_ROW + id % 4 * 8) =
                        make_uint2(low[t], high[t]);
            }
            attention::wait<0>();
            __syncthreads(); /* the other stage's readers have passed the barrier before */
            if (k + DEPTH < deep || deep < o.d) {
                load(k + DEPTH < deep ? k + DEPTH : 0);
                fetch(now ^ 1);
            }
            uint32_t from = (uint32_t)__cvta_generic_to_shared(rows[now]), u[TERMS][2][4], v[TERMS][2][4];
#pragma unroll
            for (int t = 0; t < TERMS; t++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    load4(u[t][i],
                          from + t * ALONG + (warp / 2 * 32 + i * 16 + lane % 16) * ALONG_ROW + lane / 16 * 16);
            load_columns((uint32_t)__cvta_generic_to_shared(columns[now]), warp % 2, v);
            multiply(u, v, s);
        }
#pragma unroll
        for (int i = 0; i < 32; i += 2) {
            int r = first + warp / 2 * 32 + i / 16 * 16 + lane / 4 + i % 4 / 2 * 8;
            int q = column + warp % 2 * 32 + i / 4 % 4 * 8 + lane % 4 * 2;
            float &sum = total[i / 16][i % 4 / 2], at_q[2];
            if (r >= o.n || q >= o.d) continue;
            if (WIDE) {
                float2 both = *(const float2 *)(x + r * o.x_row + q);
                at_q[0] = both.x, at_q[1] = both.y;
            } else {
                at_q[0] = x[r * o.x_row + q * o.x_step];
                at_q[1] = q + 1 < o.d ? x[r * o.x_row + (q + 1) * o.x_step] : 0;
            }
#pragma unroll
            for (int e = 0; e < 2; e++)
                if (q + e < o.d)
                    sum = fmaf(fmaf(o.square, s.v[i / 16][i / 4 % 4][i % 4 + e], o.linear * b[(q + e) * o.b_step]),
                               at_q[e], sum);
        }
    }
    __syncthreads();
#pragma unroll
    for (int turn = 0; turn < 2; turn++) { /* the left half's sums, then the right half's beside them */
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float sum = total[i / 2][i % 2];
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            int r = warp / 2 * 32 + i / 2 * 16 + lane / 4 + i % 2 * 8;
            if (lane % 4 || warp % 2 != turn) continue;
            if (turn == 0)
                halves[r] = sum;
            else if (first + r < o.n)
                o.y[at[3] + (first + r) * o.y_step] = halves[r] + sum;
        }
        __syncthreads();
    }
}

kvb_status too_large(const char *op) {
    return kvb_fail(KVB_E_UNSUPPORTED, "%s: too many rows, columns or heads for one call on a GPU", op);
}

/* u of `count` heads from `head` on, then their forms. */
void run_quadratic(const quadratic &o, int head, int count, int stages, bool wide, char *folded) {
    cudaStream_t stream = kvb_cuda_stream();
    unsigned fold = (unsigned)(count * stages), blocks = (unsigned)count * blocks_of(o.n, SIDE);
    if (wide) {
        if (o.d > 0) folds<true><<<fold, THREADS, 0, stream>>>(o, head, stages, folded);
        quadratics<true><<<blocks, THREADS, 0, stream>>>(o, head, stages, folded);
    } else {
        if (o.d > 0) folds<false><<<fold, THREADS, 0, stream>>>(o, head, stages, folded);
        quadratics<false><<<blocks, THREADS, 0, stream>>>(o, head, stages, folded);
    }
}

} // namespace

kvb_status cuda_moments(const kvb_tensor *x, kvb_tensor *mean, kvb_tensor *covariance) {
    KVB_TRY(ref_check_moments(x, mean, covariance));
    if (kvb_tensor_count(mean) == 0) return KVB_OK;
    int32_t last = mean->ndim - 1;
    kvb_tensor x0 = *x, c0 = *covariance, mean0 = *mean;
    x0.ndim = c0.ndim = mean0.ndim = last;
    const kvb_tensor *const t[3] = {&x0, &c0, &mean0};
    int64_t heads = kvb_tensor_count(&mean0), n = x->shape[last], d = x->shape[last + 1];
    int64_t tiles = (d + SIDE - 1) / SIDE, pairs = tiles * (tiles + 1) / 2;
    if (n > INT32_MAX / 2 || d > 65535 || heads > INT32_MAX / pairs) return too_large("moments");
    moments o = {};
    o.at = plan_of(t);
    o.x = (const float *)x->data, o.mean = (float *)mean->data, o.covariance = (float *)covariance->data;
    o.row = x->stride[last], o.step = x->stride[last + 1];
    o.mean_step = mean->stride[last], o.c_row = covariance->stride[last], o.c_step = covariance->stride[last + 1];
    o.n = (int)n, o.d = (int)d;
    means<<<dim3((unsigned)heads, blocks_of(d, COLUMNS)), COLUMNS * STRANDS, 0, kvb_cuda_stream()>>>(o);
    KVB_LAUNCHED("moments: means");
    bool wide = o.step == 1 && d % 2 == 0 && o.row % 2 == 0 && (uintptr_t)o.x % 8 == 0;
    for (int i = 0; i < o.at.ndim; i++) wide = wide && o.at.stride[0][i] % 2 == 0;
    if (wide)
        covariances<true><<<(unsigned)(heads * pairs), THREADS, 0, kvb_cuda_stream()>>>(o, (int)pairs);
    else
        covariances<false><<<(unsigned)(heads * pairs), THREADS, 0, kvb_cuda_stream()>>>(o, (int)pairs);
    return kvb_cuda_launched("moments");
}

kvb_status cuda_quadratic(const kvb_tensor *x, const kvb_tensor *c, const kvb_tensor *b, kvb_tensor *y, double square,
                          double linear) {
    KVB_TRY(ref_check_quadratic(x, c, b, y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    int32_t last = y->ndim - 1;
    kvb_tensor x0 = *x, c0 = *c, b0 = *b, y0 = *y;
    x0.ndim = c0.ndim = b0.ndim = y0.ndim = last;
    const kvb_tensor *const t[4] = {&x0, &c0, &b0, &y0};
    int64_t heads = kvb_tensor_count(&y0), n = x->shape[last], d = x->shape[last + 1];
    if (n > INT32_MAX / 2 || d > 65535 || heads > INT32_MAX / ((n + SIDE - 1) / SIDE)) return too_large("quadratic");
    quadratic o = {};
    o.at = plan_of(t);
    o.x = (const float *)x->data, o.c = (const float *)c->data, o.b = (const float *)b->data, o.y = (float *)y->data;
    o.x_row = x->stride[last], o.x_step = x->stride[last + 1];
    o.c_row = c->stride[last], o.c_step = c->stride[last + 1];
    o.b_step = b->stride[last], o.y_step = y->stride[last];
    o.n = (int)n, o.d = (int)d, o.square = (float)square, o.linear = (float)linear;
    bool wide = o.x_step == 1 && o.c_step == 1 && d % 4 == 0 && o.x_row % 4 == 0 && o.c_row % 4 == 0 &&
                (uintptr_t)o.x % 16 == 0 && (uintptr_t)o.c % 16 == 0;
    for (int i = 0; i < o.at.ndim; i++) wide = wide && o.at.stride[0][i] % 4 == 0 && o.at.stride[1][i] % 4 == 0;
    /* As many heads at a time as FOLDED_BYTES of u have room for. */
    int64_t stages = kvb_max64(1, stages_before(o.d, o.d));
    int64_t part = kvb_min64(heads, FOLDED_BYTES / (stages * FOLDED) + 1);
    scratch folded((size_t)(part * stages * FOLDED));
    if (!folded.p) return KVB_E_MEMORY;
    for (int64_t head = 0; head < heads; head += part) {
        int64_t count = kvb_min64(part, heads - head);
        run_quadratic(o, (int)head, (int)count, (int)stages, wide, folded.as<char>());
        KVB_LAUNCHED("quadratic");
    }
    return KVB_OK;
}
