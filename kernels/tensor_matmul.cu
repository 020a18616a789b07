/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_matmul.cu - batched matrix products in f32, as presses use them: thousands of small ones, any strides.
 *
 * A block owns a tile of the result and walks down k; every element is one chain of fused multiply-adds in order of k,
 * so its bits depend on its row and column alone, whatever the tile or batch. Tiles of a and b pass through shared
 * memory, the next ones loaded while the current ones are multiplied. Four neighbours come with one load along
 * whichever of its two dimensions an operand is dense. Rejected: TF32 tensor cores (10 bits would not meet the
 * tolerances of f32 scores), and cuBLAS for batches of 128 x 128 (a launch per broadcast pattern, and another order of
 * sums per size).
 */
#include "tensor.cuh"

using namespace kvb;

namespace {

/* Matrices lie at base + batch; element (r, k) of a at r * row_a + k * step_a, (k, c) of b at k * step_b + c *
 * column_b. */
struct product {
    const float *a, *b;
    float *y;
    int64_t row_a, step_a, step_b, column_b, row_y, column_y;
    int32_t m, k, n;
    plan<3> at; /* of the batch */
};

/* How four neighbours of a tile [outer][DEPTH] are fetched: along k, along the outer dimension, or one by one. */
enum { ALONG_K, ALONG_OUTER, SCATTERED };

/*
 * Loads a tile of OUTER x DEPTH elements into registers and stores it as shared[k][outer]; what lies outside the matrix
 * is 0. Each thread keeps where its groups are and steps along k.
 */
template <int OUTER, int DEPTH, int THREADS, int HOW> struct tile {
    static constexpr int GROUPS = OUTER * DEPTH / 4 / THREADS;
    float4 v[GROUPS];
    const float *p[GROUPS]; /* NULL: outside */
    int64_t step_k;
    int k0, depth; /* of the next load */

    __device__ static void place(int g, int *o, int *k) {
        int i = threadIdx.x + g * THREADS;
        if (HOW == ALONG_OUTER) {
            *o = i % (OUTER / 4) * 4;
            *k = i / (OUTER / 4);
        } else {
            *k = i % (DEPTH / 4) * 4;
            *o = i / (DEPTH / 4);
        }
    }
    __device__ tile(const float *base, int64_t step_outer, int64_t step, int first, int size, int deep)
        : step_k(step), k0(0), depth(deep) {
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            int o, k;
            place(g, &o, &k);
            p[g] = first + o < size ? base + (first + o) * step_outer + k * step_k : NULL;
        }
    }
    __device__ void load() {
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            int o, k;
            place(g, &o, &k);
            k += k0;
            v[g] = make_float4(0, 0, 0, 0);
            if (p[g] && k < depth) {
                if (HOW == SCATTERED) {
                    v[g].x = p[g][0];
                    if (k + 1 < depth) v[g].y = p[g][step_k];
                    if (k + 2 < depth) v[g].z = p[g][2 * step_k];
                    if (k + 3 < depth) v[g].w = p[g][3 * step_k];
                } else {
                    v[g] = *(const float4 *)p[g];
                }
                p[g] += DEPTH * step_k;
            }
        }
        k0 += DEPTH;
    }
    __device__ void store(float (*shared)[OUTER + 4]) const {
#pragma unroll
        for (int g = 0; g < GROUPS; g++) {
            int o, k;
            place(g, &o, &k);
            if (HOW == ALONG_OUTER) {
                *(float4 *)&shared[k][o] = v[g];
            } else {
                shared[k][o] = v[g].x;
                shared[k + 1][o] = v[g].y;
                shared[k + 2][o] = v[g].z;
                shared[k + 3][o] = v[g].w;
            }
        }
    }
};

/* ROWS x COLUMNS per block, 8 x 8 (or 4 x 4) per thread, as two (or one) groups of four in each direction. */
template <int ROWS, int COLUMNS, int DEPTH, int PER, int HOW_A, int HOW_B>
__global__ void __launch_bounds__(ROWS *COLUMNS / PER / PER, ROWS *COLUMNS / PER / PER == 128 ? 3 : 2)
    multiply(product s) {
    constexpr int THREADS = ROWS * COLUMNS / PER / PER, HALVES = PER / 4;
    __shared__ __align__(16) float a[2][DEPTH][ROWS + 4], b[2][DEPTH][COLUMNS + 4];
    int64_t at[3];
    s.at.locate(blockIdx.z, at);
    int first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS;
    /* A warp is 4 x 8 threads: what its lanes read of a and of b fits one wavefront of shared memory each. */
    constexpr int WARPS_ACROSS = COLUMNS / PER / 8;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int ty = warp / WARPS_ACROSS * 4 + lane / 8, tx = warp % WARPS_ACROSS * 8 + lane % 8;
    tile<ROWS, DEPTH, THREADS, HOW_A> next_a(s.a + at[0], s.row_a, s.step_a, first_row, s.m, s.k);
    tile<COLUMNS, DEPTH, THREADS, HOW_B> next_b(s.b + at[1], s.column_b, s.step_b, first_column, s.n, s.k);
    float sum[PER][PER];
#pragma unroll
    for (int i = 0; i < PER; i++)
#pragma unroll
        for (int j = 0; j < PER; j++) sum[i][j] = 0;

    next_a.load();
    next_b.load();
    next_a.store(a[0]);
    next_b.store(b[0]);
    __syncthreads();
    int stage = 0;
    for (int k0 = 0; k0 < s.k; k0 += DEPTH) {
        bool more = k0 + DEPTH < s.k;
        if (more) {
            next_a.load();
            next_b.load();
        }
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float u[PER], v[PER];
#pragma unroll
            for (int h = 0; h < HALVES; h++) {
                *(float4 *)&u[4 * h] = *(const float4 *)&a[stage][k][h * (ROWS / HALVES) + 4 * ty];
                *(float4 *)&v[4 * h] = *(const float4 *)&b[stage][k][h * (COLUMNS / HALVES) + 4 * tx];
            }
#pragma unroll
            for (int i = 0; i < PER; i++)
#pragma unroll
                for (int j = 0; j < PER; j++) sum[i][j] = fmaf(u[i], v[j], sum[i][j]);
        }
        if (more) {
            next_a.store(a[stage ^ 1]);
            next_b.store(b[stage ^ 1]);
            __syncthreads();
            stage ^= 1;
        }
    }

    bool wide = s.column_y == 1 && s.n % 4 == 0 && s.row_y % 4 == 0 && (uintptr_t)(s.y + at[2]) % 16 == 0;
#pragma unroll
    for (int i = 0; i < PER; i++) {
        int row = first_row + i / 4 * (ROWS / HALVES) + 4 * ty + i % 4;
        if (row >= s.m) continue;
#pragma unroll
        for (int h = 0; h < HALVES; h++) {
            int column = first_column + h * (COLUMNS / HALVES) + 4 * tx;
            float *y = s.y + at[2] + row * s.row_y + column * s.column_y;
            if (wide && column < s.n) {
                *(float4 *)y = make_float4(sum[i][4 * h], sum[i][4 * h + 1], sum[i][4 * h + 2], sum[i][4 * h + 3]);
                continue;
            }
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (column + j < s.n) y[j * s.column_y] = sum[i][4 * h + j];
        }
    }
}

/* Groups of four never straddle the edge: the dimension they run along is a multiple of four. */
int how(const float *p, int64_t outer, int64_t step_outer, int64_t depth, int64_t step_k, const plan<3> &at,
        int operand) {
    bool aligned = (uintptr_t)p % 16 == 0;
    for (int d = 0; d < at.ndim && aligned; d++) aligned = at.stride[operand][d] % 4 == 0;
    if (aligned && step_k == 1 && depth % 4 == 0 && step_outer % 4 == 0) return ALONG_K;
    if (aligned && step_outer == 1 && outer % 4 == 0 && step_k % 4 == 0) return ALONG_OUTER;
    return SCATTERED;
}

template <int ROWS, int COLUMNS, int DEPTH, int PER, int HOW_A, int HOW_B> void launch(const product &s) {
    dim3 grid(blocks_of(s.m, ROWS), blocks_of(s.n, COLUMNS), s.at.count);
    multiply<ROWS, COLUMNS, DEPTH, PER, HOW_A, HOW_B>
        <<<grid, ROWS * COLUMNS / PER / PER, 0, kvb_cuda_stream()>>>(s);
}

template <int HOW_A, int HOW_B> void choose(const product &s) {
    if constexpr (HOW_A == SCATTERED || HOW_B == SCATTERED) { /* nothing dense to gain by a larger tile */
        launch<64, 64, 16, 4, HOW_A, HOW_B>(s);
    } else {
        int64_t large = (int64_t)blocks_of(s.m, 128) * blocks_of(s.n, 128) * s.at.count;
        bool fills = large >= kvb_cuda_current()->multiprocessors;
        if (s.m > 64 && s.n > 64 && fills) launch<128, 128, 8, 8, HOW_A, HOW_B>(s);
        else if (s.m > 32 && s.n > 64) launch<64, 128, 8, 8, HOW_A, HOW_B>(s);
        else launch<64, 64, 16, 4, HOW_A, HOW_B>(s);
    }
}

} // namespace

kvb_status cuda_matmul(const kvb_tensor *a, const kvb_tensor *b, kvb_tensor *y) {
    KVB_TRY(ref_check_matmul(a, b, y));
    if (kvb_tensor_count(y) == 0) return KVB_OK;
    int32_t row = y->ndim - 2, column = y->ndim - 1;
    kvb_tensor a0 = *a, b0 = *b, y0 = *y;
    a0.ndim = b0.ndim = y0.ndim = row;
    const kvb_tensor *const t[3] = {&a0, &b0, &y0};
    product s = {(const float *)a->data, (const float *)b->data, (float *)y->data, a->stride[row], a->stride[column],
                 b->stride[row],         b->stride[column],      y->stride[row],   y->stride[column]};
    int64_t batch = kvb_tensor_count(&y0);
    if (a->shape[row] > INT32_MAX / 2 || b->shape[column] > INT32_MAX / 2 || a->shape[column] > INT32_MAX / 2 ||
        blocks_of(b->shape[column], 64) > 65535 || batch > INT32_MAX)
        return kvb_fail(KVB_E_UNSUPPORTED, "matmul: a matrix or batch is too large for one call on a GPU");
    if (batch > 65535) { /* what a grid holds: cut along the largest leading dimension */
        int d = 0;
        for (int i = 1; i < row; i++)
            if (y->shape[i] > y->shape[d]) d = i;
        kvb_tensor part[3] = {*a, *b, *y};
        int64_t half = y->shape[d] / 2;
        for (int k = 0; k < 3; k++) part[k].shape[d] = half;
        KVB_TRY(cuda_matmul(&part[0], &part[1], &part[2]));
        for (int k = 0; k < 3; k++) {
            part[k].shape[d] = y->shape[d] - half;
            part[k].data = (float *)part[k].data + half * part[k].stride[d];
        }
        return cuda_matmul(&part[0], &part[1], &part[2]);
    }
    s.m = (int32_t)y->shape[row];
    s.n = (int32_t)y->shape[column];
    s.k = (int32_t)a->shape[column];
    s.at = plan_of(t);
    int how_a = how(s.a, s.m, s.row_a, s.k, s.step_a, s.at, 0);
    int how_b = how(s.b, s.n, s.column_b, s.k, s.step_b, s.at, 1);
    switch (how_a * 3 + how_b) {
    case 0: choose<ALONG_K, ALONG_K>(s); break;
    case 1: choose<ALONG_K, ALONG_OUTER>(s); break;
    case 2: choose<ALONG_K, SCATTERED>(s); break;
    case 3: choose<ALONG_OUTER, ALONG_K>(s); break;
    case 4: choose<ALONG_OUTER, ALONG_OUTER>(s); break;
    case 5: choose<ALONG_OUTER, SCATTERED>(s); break;
    case 6: choose<SCATTERED, ALONG_K>(s); break;
    case 7: choose<SCATTERED, ALONG_OUTER>(s); break;
    default: choose<SCATTERED, SCATTERED>(s);
    }
    return kvb_cuda_launched("matmul");
}
