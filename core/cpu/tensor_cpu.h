/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_cpu.h - the inner loops of the CPU's tensor ops: one source (tensor_kernels.inc) compiled per instruction
 * set.
 *
 * A kernel sees one run of elements; layouts, threads and checks are its caller's. Steps count elements, and a step of
 * 0 repeats one element (a broadcast operand).
 */
#ifndef KVB_TENSOR_CPU_H
#define KVB_TENSOR_CPU_H
#include "../ref/operands.h"

enum { KVB_COLUMNS = 64, KVB_GEMM_ROWS = 64 };
/* Elements between two looks at Ctrl-C: about a millisecond. An op that stops early leaves its output undefined; the
 * dispatcher (backend.c) then says that it was interrupted. */
enum { KVB_SPAN = 1 << 18 };
#define KVB_SPANS(first, n) for (int64_t first = 0; first < (n) && !kvb_cancelled(); first += KVB_SPAN)

typedef struct kvb_tensor_kernels {
    void (*unary)(int32_t kind, int64_t n, const float *x, int64_t sx, float *y, int64_t sy, float low, float high);
    void (*binary)(int32_t kind, int64_t n, const float *a, int64_t sa, const float *b, int64_t sb, float *y,
        int64_t sy);
    void (*where)(int64_t n, const float *c, int64_t sc, const float *a, int64_t sa, const float *b, int64_t sb,
        float *y, int64_t sy);
    /* One slice of n contiguous elements; every REDUCE_ kind but the arg ones. */
    float (*reduce)(int32_t kind, int64_t n, const float *x, double p);
    /* `width` <= KVB_COLUMNS neighbouring slices whose elements lie `step` apart; sum, mean, norm 1 and 2, min, max. */
    void (*columns)(int32_t kind, int64_t n, int64_t step, int64_t width, const float *x, double p, float *y);
    void (*softmax)(int64_t n, const float *x, float *y); /* contiguous; x may be y */
    /* One tap of a pooling window (POOL_): acc[i] takes in x[i * step]; NaN wins a maximum. */
    void (*tap)(int32_t kind, int64_t n, const float *x, int64_t step, double *acc);
    float (*dot)(int64_t n, const float *a, const float *b);
    /*
     * y [m, n] (rows sy apart) = a [m, k] (any steps) times b [k, n] (any steps). scratch holds kvb_gemm_scratch(k)
     * floats. Sums run over k in order with one accumulator per element: a row does not depend on its neighbours.
     */
    void (*gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_step, const float *b,
        int64_t b_row,
                 int64_t b_step, float *y, int64_t y_row, float *scratch);
    /* Means of the columns of rows [n, d], `row` apart. */
    void (*means)(int64_t n, int64_t d, int64_t row, const float *x, float *y);
    /* y [n, d] = rows of x minus mean; rows x_row and y_row apart. */
    void (*centre)(int64_t n, int64_t d, const float *x, int64_t x_row, const float *mean, float *y, int64_t y_row);
    /* acc += the sum over rows r of softmax(the first n + r of x[r]); rows lie `stride` apart and are overwritten. */
    void (*weigh)(int64_t rows, int64_t n, float *x, int64_t stride, double *acc);
    /* y [d, n] = x [n, d] turned; x's rows and elements lie x_row and x_step apart, y's rows y_row. */
    void (*turn)(int64_t n, int64_t d, const float *x, int64_t x_row, int64_t x_step, float *y, int64_t y_row);
    /*
     * What of a product a' a a symmetric matrix needs: total [d, stride] += rows [n, d]' rows where a column is not
     * before its row (and a few more). Rows lie `stride` apart, a multiple of 32, with zeros after d. next: where as
     * many numbers lie that are wanted soon, a hint.
     */
    void (*gram)(int64_t n, int64_t d, const float *rows, int64_t stride, float *total, const float *next);
    /* y [d, d] = the symmetric matrix of which gram made `total`, times scale. */
    void (*mirror)(int64_t d, const float *total, int64_t stride, float scale, float *y, int64_t y_row);
    /* x' c x = x' u x with u [d, stride] upper triangular: pairs off the diagonal added up, 0 under it. */
    void (*fold)(int64_t d, const float *c, int64_t c_row, int64_t c_step, float *u, int64_t stride);
    /* y[i] = square * x_i' u x_i + linear * x_i . b; u [d, stride] is upper triangular, stride a multiple of 32. */
    void (*quadratic)(int64_t n, int64_t d, const float *x, int64_t x_row, const float *u, int64_t stride,
                      const float *b, double square, double linear, float *y);
} kvb_tensor_kernels;

extern const kvb_tensor_kernels kvb_tensor_scalar, kvb_tensor_avx2, kvb_tensor_avx512;
const kvb_tensor_kernels *kvb_tensor_pick(void); /* for this CPU's tier */
static inline int64_t kvb_gemm_scratch(int64_t k) { return 32 * k; } /* one packed panel of b */

/*
 * The outer loops of ops whose operands have one shape: dimensions that all operands step through alike are merged,
 * the last one is the kernel's run. A job runs `row(state, offsets)` for every run, offsets in elements per operand,
 * in parallel.
 */
enum { KVB_OPERANDS = KVB_FUSE_INPUTS + 1 };
typedef struct kvb_loop {
    int64_t shape[KVB_MAX_DIMS], stride[KVB_OPERANDS][KVB_MAX_DIMS];
    int64_t run, outer; /* elements per run, runs */
    int32_t ndim, operands; /* dimensions outside the run */
} kvb_loop;
/* t[0 .. operands): same shape. split: cut long runs so that all threads get work. */
kvb_loop kvb_loop_over(const kvb_tensor *const *t, int32_t operands, bool split);
void kvb_loop_at(const kvb_loop *loop, int64_t index, int64_t *offsets);
int32_t kvb_loop_threads(int64_t elements); /* worth using for so much work */

#endif
