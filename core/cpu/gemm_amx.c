/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_amx.c - y = x w^T on the AMX units: bf16 inputs, f32 sums, and what surrounds a product in the decoder (norm
 * before it, SwiGLU, residual or argmax after it) done while its numbers are in the caches.
 *
 * Weights lie in strips of 16 columns in the order the tiles read them; rows are brought into tile order once. A block
 * of 32 rows x 32 columns is four accumulator tiles; a pair of strips stays in L1 while the rows stream past it (with
 * the hint that they need not stay), the next pair is asked for meanwhile, and the finished sums of one block are
 * written out between the tile products of the next. The order of summation depends on nothing but the depth, so a
 * row's bits are those it has alone. Rejected: oneDNN for bf16 (1.4 times slower at 512 rows, see docs/benchmarks.md).
 */
#include "cpu.h"
#if defined(__AMX_BF16__)
#include "amx.h"
#include "exp2.inc"
#include <math.h>
#include <omp.h>
#include <stdatomic.h>

enum {
    WIDE = 16,        /* columns of a strip */
    DEEP = 32,        /* depth of one tile product */
    TILE = 512,       /* elements of a bf16 tile */
    STRIP_ROWS = 32,  /* rows of one block of accumulators */
    BLOCK_ROWS = 256, /* rows that stay in L2 while weights stream past */
    MOST_STEPS = 24,  /* deeper products are cut, so that two strips of weights fit L1 */
    MOST_RANGES = 64,
};

/* What becomes of a block's sums. */
typedef enum ending { END_F32, END_ADD, END_BF16, END_SWIGLU, END_GEGLU, END_TOP } ending;

static inline __attribute__((always_inline)) bool gates(ending end) { return end == END_SWIGLU || end == END_GEGLU; }

typedef struct top {
    float best, second;
    int32_t index;
} top;

typedef struct range { /* tasks that one thread begins with; the others help when they are done */
    _Alignas(64) _Atomic int32_t next;
    int32_t end;
} range;

typedef struct job {
    const uint16_t *a, *w; /* rows and weights in tile order */
    int32_t rows, steps, columns, panels, up; /* up: strips from a gate strip to its up strip (gates) */
    void *y;                                  /* row-major, but in tile order behind a gate */
    const float *bias;
    int32_t first_column;
    range range[MOST_RANGES];
    int32_t ranges;
} job;

/* Per thread: the sums of a panel's rows (twice, since a block is written out while the next one is computed). */
typedef struct worker {
    _Alignas(64) float sum[2][BLOCK_ROWS * 2 * WIDE];
    top *top; /* [rows] */
    int32_t flip;
    const float *pending; /* the block to be written out, or NULL */
    const job *job;
    int32_t row, column, written;
} worker;

static int32_t steps_of(int32_t in) { return (in + DEEP - 1) / DEEP; }
static int32_t padded_rows(int32_t rows) { return (int32_t)kvb_round_up(rows, STRIP_ROWS); }

static __mmask32 first_bits(int32_t n) { return n >= 32 ? ~0u : (1u << n) - 1; }

/* ---- weights ---- */

/* Element (k, column) of a strip: [k / 32][k % 32 / 2][column][k % 2]. Columns are padded to whole pairs of strips. */
kvb_status kvb_amx_pack(const float *w, int32_t out, int32_t in, kvb_packed **packed) {
    int64_t steps = steps_of(in), strips = kvb_round_up(out, 2 * WIDE) / WIDE;
    kvb_packed *p = kvb_alloc(sizeof *p, KVB_MEM_WEIGHTS);
    if (!p) return KVB_E_MEMORY;
    *p = (kvb_packed){out, in, KVB_BF16, strips * steps * TILE * 2, NULL};
    uint16_t *data = p->data = kvb_alloc((size_t)p->bytes, KVB_MEM_WEIGHTS);
    if (!data) {
        kvb_free(p);
        return KVB_E_MEMORY;
    }
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if ((int64_t)out * in > 65536)
    for (int64_t s = 0; s < strips; s++)
        for (int32_t k = 0; k < in; k += DEEP) {
            const __mmask32 depth = first_bits(in - k);
            __m512i pair[WIDE];
            for (int32_t c = 0; c < WIDE; c++) {
                const bool there = s * WIDE + c < out;
                const float *column = w + (there ? (s * WIDE + c) * in + k : 0);
                const __m512 low = _mm512_maskz_loadu_ps(there ? (__mmask16)depth : 0, column),
                             high = _mm512_maskz_loadu_ps(there ? (__mmask16)(depth >> 16) : 0, column + 16);
                pair[c] = (__m512i)_mm512_cvtne2ps_pbh(high, low);
            }
            kvb_transpose(pair);
            for (int32_t i = 0; i < DEEP / 2; i++)
                _mm512_store_si512(data + (s * steps + k / DEEP) * TILE + i * 2 * WIDE, pair[i]);
        }
    *packed = p;
    return KVB_OK;
}

/* ---- rows in tile order: [row / 16][k / 32][row % 16][k % 32], zeros past the last row and depth ---- */

static uint16_t *row_at(uint16_t *a, int32_t steps, int32_t row) {
    return a + (int64_t)(row / 16) * steps * TILE + (row % 16) * DEEP;
}

static void clear_row(uint16_t *to, int32_t steps) {
    for (int32_t s = 0; s < steps; s++) _mm512_store_si512(to + s * TILE, _mm512_setzero_si512());
}

static void place_row(const uint16_t *x, int32_t in, uint16_t *to) {
    for (int32_t k = 0; k < in; k += DEEP, to += TILE)
        _mm512_store_si512(to, _mm512_maskz_loadu_epi16(first_bits(in - k), x + k));
}

/* As the kernel rmsnorm computes it. */
static void place_normed(const float *x, const float *w, int32_t in, float eps, uint16_t *to) {
    __m512 squares = _mm512_setzero_ps();
    int32_t k = 0;
    for (; k + 16 <= in; k += 16) {
        __m512 v = _mm512_loadu_ps(x + k);
        squares = _mm512_fmadd_ps(v, v, squares);
    }
    float sum = _mm512_reduce_add_ps(squares);
    for (; k < in; k++) sum += x[k] * x[k];
    const __m512 scale = _mm512_set1_ps(1.0f / sqrtf(sum / (float)in + eps));
    for (k = 0; k < in; k += DEEP, to += TILE) {
        __mmask32 m = first_bits(in - k);
        __mmask16 low = (__mmask16)m, high = (__mmask16)(m >> 16);
        __m512 a = _mm512_mul_ps(_mm512_mul_ps(_mm512_maskz_loadu_ps(low, x + k), scale),
                                 _mm512_maskz_loadu_ps(low, w + k)),
               b = _mm512_mul_ps(_mm512_mul_ps(_mm512_maskz_loadu_ps(high, x + k + 16), scale),
                                 _mm512_maskz_loadu_ps(high, w + k + 16));
        _mm512_store_si512(to, (__m512i)_mm512_cvtne2ps_pbh(b, a));
    }
}

/* This thread's share of the rows; norm: its weights [in], or NULL for rows that are bf16 already. */
static void place_rows(const void *x, int32_t rows, int32_t in, const float *norm, float eps, uint16_t *a,
                       int32_t thread, int32_t threads) {
    int32_t steps = steps_of(in), all = padded_rows(rows);
    int32_t first = (int32_t)((int64_t)all * thread / threads), end = (int32_t)((int64_t)all * (thread + 1) / threads);
    for (int32_t r = first; r < end; r++) {
        uint16_t *to = row_at(a, steps, r);
        if (r >= rows)
            clear_row(to, steps);
        else if (norm)
            place_normed((const float *)x + (int64_t)r * in, norm, in, eps, to);
        else
            place_row((const uint16_t *)x + (int64_t)r * in, in, to);
    }
}

/* ---- endings: one row of a finished block ---- */

static inline void fold(top *t, float x, int32_t index) {
    if (x > t->best || (x == t->best && index < t->index)) {
        t->second = t->best;
        t->best = x;
        t->index = index;
    } else if (x > t->second)
        t->second = x;
}

/* x / (1 + e^-u) by the exponential that cannot overflow: e^-|u| */
static inline __m512 gate_by(__m512 x, __m512 u) {
    __m512 e = exp2_nonpositive(_mm512_mul_ps(_mm512_abs_ps(u), _mm512_set1_ps(-1.44269504088896341f)));
    __m512 one = _mm512_set1_ps(1.0f),
           top_part = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(u, _mm512_setzero_ps(), _CMP_GE_OQ), e, one);
    return _mm512_mul_ps(x, _mm512_div_ps(top_part, _mm512_add_ps(one, e)));
}

static inline __m512 swish(__m512 x) { return gate_by(x, x); }

static inline __m512 gelu(__m512 x) { /* its tanh form: u = 2 sqrt(2 / pi) (x + 0.044715 x^3) */
    __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
    return gate_by(x, _mm512_mul_ps(_mm512_set1_ps(1.59576912160573071f),
                                    _mm512_fmadd_ps(_mm512_set1_ps(0.044715f), cube, x)));
}

static inline __attribute__((always_inline)) void write_row(worker *k, ending end, int32_t i) {
    const job *j = k->job;
    const float *sum = k->pending + (i / 16) * (2 * 16 * WIDE) + (i % 16) * WIDE;
    __m512 left = _mm512_load_ps(sum), right = _mm512_load_ps(sum + 16 * WIDE);
    int32_t row = k->row + i;
    if (row >= j->rows) return;
    if (gates(end)) {
        left = end == END_SWIGLU ? swish(left) : gelu(left);
        uint16_t *y = row_at(j->y, j->panels / 2, row) + (int64_t)(k->column / DEEP) * TILE + k->column % DEEP;
        _mm256_store_si256((__m256i *)y, (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(right, left)));
        return;
    }
    __mmask32 m = first_bits(j->columns - k->column);
    __mmask16 low = (__mmask16)m, high = (__mmask16)(m >> 16);
    if (end == END_TOP) {
        top *t = k->top + row;
        __m512 least = _mm512_set1_ps(t->second);
        uint32_t look = _mm512_mask_cmp_ps_mask(low, left, least, _CMP_GE_OQ) |
                        (uint32_t)_mm512_mask_cmp_ps_mask(high, right, least, _CMP_GE_OQ) << 16;
        for (; look; look &= look - 1) {
            int32_t c = __builtin_ctz(look);
            fold(t, sum[(c / 16) * 16 * WIDE + c % 16], j->first_column + k->column + c);
        }
        return;
    }
    if (j->bias) {
        left = _mm512_add_ps(left, _mm512_maskz_loadu_ps(low, j->bias + k->column));
        right = _mm512_add_ps(right, _mm512_maskz_loadu_ps(high, j->bias + k->column + 16));
    }
    int64_t at = (int64_t)row * j->columns + k->column;
    if (end == END_BF16) {
        _mm512_mask_storeu_epi16((uint16_t *)j->y + at, m, (__m512i)_mm512_cvtne2ps_pbh(right, left));
        return;
    }
    float *y = (float *)j->y + at;
    if (end == END_ADD) {
        left = _mm512_add_ps(_mm512_maskz_loadu_ps(low, y), left);
        right = _mm512_add_ps(_mm512_maskz_loadu_ps(high, y + 16), right);
    }
    _mm512_mask_storeu_ps(y, low, left);
    _mm512_mask_storeu_ps(y + 16, high, right);
}

static inline __attribute__((always_inline)) void write_rest(worker *k, ending end) {
    for (; k->pending && k->written < STRIP_ROWS; k->written++) write_row(k, end, k->written);
    k->pending = NULL;
}

/* Asks for what write_row will touch, a block ahead of it: the residual is 1 MB at 512 rows, in the other core's cache
 * or none. */
static inline __attribute__((always_inline)) void fetch_row(const job *j, ending end, int32_t row, int32_t column) {
    if (end != END_ADD && end != END_F32) return;
    const float *y = (const float *)j->y + (int64_t)row * j->columns + column;
    __builtin_prefetch(y, 1);
    __builtin_prefetch(y + 16, 1);
}

/* ---- one task: a pair of strips against a block of rows ---- */

static inline __attribute__((always_inline)) void panel(worker *k, const job *j, ending end, int32_t task) {
    const int32_t steps = j->steps, block = task / j->panels, p = task % j->panels;
    const int32_t first = block * BLOCK_ROWS,
                  last = (int32_t)kvb_min64(first + BLOCK_ROWS, padded_rows(j->rows));
    const int32_t left = gates(end) ? p : 2 * p, right = gates(end) ? p + j->up : left + 1;
    const int32_t cuts = (steps + MOST_STEPS - 1) / MOST_STEPS, cut = (steps + cuts - 1) / cuts;
    const int64_t strip = (int64_t)steps * TILE;
    const int32_t ahead = (int32_t)(16 * STRIP_ROWS / (last - first)); /* lines of each next strip per step */
    const int64_t next = p + 1 < j->panels ? (gates(end) ? strip : 2 * strip) : 0;
    const char *fetch_left = (const char *)(j->w + left * strip + next),
               *fetch_right = (const char *)(j->w + right * strip + next);
    float *sums = k->sum[k->flip];
    k->flip ^= 1;
    for (int32_t s0 = 0; s0 < steps; s0 += cut) {
        const int32_t s1 = s0 + cut < steps ? s0 + cut : steps;
        for (int32_t r = first; r < last; r += STRIP_ROWS) {
            const uint16_t *a0 = j->a + (int64_t)(r / 16) * strip + s0 * TILE, *a1 = a0 + strip;
            const uint16_t *b0 = j->w + left * strip + s0 * TILE, *b1 = j->w + right * strip + s0 * TILE;
            float *sum = sums + (r - first) * 2 * WIDE;
            if (s0 == 0) {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
            } else {
                _tile_loadd(0, sum, 64);
                _tile_loadd(1, sum + 256, 64);
                _tile_loadd(2, sum + 512, 64);
                _tile_loadd(3, sum + 768, 64);
            }
            for (int32_t s = s0; s < s1; s++, a0 += TILE, a1 += TILE, b0 += TILE, b1 += TILE) {
                _tile_loadd(4, b0, 64);
                _tile_loadd(5, b1, 64);
                _tile_stream_loadd(6, a0, 64);
                _tile_stream_loadd(7, a1, 64);
                _tile_dpbf16ps(0, 6, 4);
                _tile_dpbf16ps(1, 6, 5);
                _tile_dpbf16ps(2, 7, 4);
                _tile_dpbf16ps(3, 7, 5);
                if (next)
                    for (int32_t i = 0; i < ahead; i++, fetch_left += 64, fetch_right += 64) {
                        _mm_prefetch(fetch_left, _MM_HINT_T1);
                        _mm_prefetch(fetch_right, _MM_HINT_T1);
                    }
                if (s1 == steps && 2 * (s - s0) < STRIP_ROWS) {
                    fetch_row(j, end, r + 2 * (s - s0), left * WIDE);
                    fetch_row(j, end, r + 2 * (s - s0) + 1, left * WIDE);
                }
                if (k->pending) {
                    write_row(k, end, k->written);
                    write_row(k, end, k->written + 1);
                    k->written += 2;
                    if (k->written == STRIP_ROWS) k->pending = NULL;
                }
            }
            write_rest(k, end);
            _tile_stored(0, sum, 64);
            _tile_stored(1, sum + 256, 64);
            _tile_stored(2, sum + 512, 64);
            _tile_stored(3, sum + 768, 64);
            if (s1 < steps) continue;
            k->pending = sum;
            k->job = j;
            k->row = r;
            k->column = left * WIDE;
            k->written = 0;
        }
    }
}

static inline __attribute__((always_inline)) void work_as(worker *k, job *j, ending end, int32_t thread) {
    for (int32_t i = 0; i < j->ranges; i++) {
        range *g = j->range + (thread + i) % j->ranges;
        for (int32_t task; (task = atomic_fetch_add_explicit(&g->next, 1, memory_order_relaxed)) < g->end;)
            panel(k, j, end, task);
    }
    write_rest(k, end);
}

/* Not an initialiser: that would clear the sums too. */
static void begin(worker *k, top *tops) {
    k->pending = NULL;
    k->flip = 0;
    k->top = tops;
}

static void work(worker *k, job *j, ending end, int32_t thread) {
    if (end == END_F32) work_as(k, j, END_F32, thread);
    else if (end == END_ADD) work_as(k, j, END_ADD, thread);
    else if (end == END_BF16) work_as(k, j, END_BF16, thread);
    else if (end == END_SWIGLU) work_as(k, j, END_SWIGLU, thread);
    else if (end == END_GEGLU) work_as(k, j, END_GEGLU, thread);
    else work_as(k, j, END_TOP, thread);
}

static void prepare(job *j, const kvb_packed *w, const uint16_t *a, int32_t rows, const float *bias, void *y,
                    int32_t threads) {
    j->a = a;
    j->w = w->data;
    j->rows = rows;
    j->steps = steps_of(w->in);
    j->columns = w->out;
    j->panels = (w->out + 2 * WIDE - 1) / (2 * WIDE);
    j->up = w->out / 2 / WIDE;
    j->y = y;
    j->bias = bias;
    j->first_column = 0;
    j->ranges = threads < MOST_RANGES ? threads : MOST_RANGES;
    int64_t tasks = (int64_t)j->panels * ((rows + BLOCK_ROWS - 1) / BLOCK_ROWS);
    for (int32_t i = 0; i < j->ranges; i++) {
        atomic_init(&j->range[i].next, (int32_t)(tasks * i / j->ranges));
        j->range[i].end = (int32_t)(tasks * (i + 1) / j->ranges);
    }
}

static size_t rows_bytes(int32_t rows, int32_t in) {
    return kvb_mul_size(kvb_mul_size((size_t)padded_rows(rows), (size_t)steps_of(in)), 64);
}

/* ---- the backend's calls ---- */

static kvb_status product(const kvb_packed *w, const void *x, const float *norm, float eps, int32_t rows,
                          const float *bias, ending end, void *y) {
    uint16_t *a = kvb_alloc_raw(rows_bytes(rows, w->in), KVB_MEM_SCRATCH);
    if (!a) return KVB_E_MEMORY;
    int32_t threads = kvb_threads();
    job j;
    prepare(&j, w, a, rows, bias, y, threads);
#pragma omp parallel num_threads(threads)
    {
        worker k;
        begin(&k, NULL);
        int32_t thread = omp_get_thread_num();
        place_rows(x, rows, w->in, norm, eps, a, thread, omp_get_num_threads());
        kvb_amx_begin();
#pragma omp barrier
        work(&k, &j, end, thread);
        kvb_amx_end();
    }
    kvb_free(a);
    return KVB_OK;
}

kvb_status kvb_amx_multiply(const kvb_packed *w, const void *x, int32_t rows, const float *bias, int32_t accumulate,
                            void *y, int32_t y_dtype) {
    return product(w, x, NULL, 0, rows, bias, accumulate ? END_ADD : y_dtype == KVB_BF16 ? END_BF16 : END_F32, y);
}

kvb_status kvb_amx_normed_multiply(const kvb_packed *w, const float *x, int32_t rows, const float *norm, double eps,
                                   const float *bias, float *y) {
    return product(w, x, norm, (float)eps, rows, bias, END_F32, y);
}

kvb_status kvb_amx_feed_forward(const kvb_packed *gate_up, const kvb_packed *down, float *x, int32_t rows,
                                const float *norm, double eps, int32_t activation, float *y) {
    uint16_t *a = kvb_alloc_raw(rows_bytes(rows, gate_up->in), KVB_MEM_SCRATCH);
    uint16_t *act = kvb_alloc_raw(rows_bytes(rows, down->in), KVB_MEM_SCRATCH);
    kvb_status status = a && act ? KVB_OK : KVB_E_MEMORY;
    if (status == KVB_OK) {
        int32_t threads = kvb_threads();
        job up, back;
        prepare(&up, gate_up, a, rows, NULL, act, threads);
        prepare(&back, down, act, rows, NULL, y ? y : x, threads);
        for (int32_t r = rows; r < padded_rows(rows); r++) clear_row(row_at(act, back.steps, r), back.steps);
#pragma omp parallel num_threads(threads)
        {
            worker k;
            begin(&k, NULL);
            int32_t thread = omp_get_thread_num();
            place_rows(x, rows, gate_up->in, norm, (float)eps, a, thread, omp_get_num_threads());
            kvb_amx_begin();
#pragma omp barrier
            work(&k, &up, activation == KVB_GELU ? END_GEGLU : END_SWIGLU, thread);
#pragma omp barrier
            work(&k, &back, y ? END_F32 : END_ADD, thread);
            kvb_amx_end();
        }
    }
    kvb_free(a);
    kvb_free(act);
    return status;
}

kvb_status kvb_amx_best(kvb_packed *const *head, int32_t chunks, const void *x, int32_t rows, float *best,
                        float *second, int32_t *index) {
    int32_t threads = kvb_threads();
    uint16_t *a = kvb_alloc_raw(rows_bytes(rows, head[0]->in), KVB_MEM_SCRATCH);
    top *tops = kvb_alloc_array(kvb_mul_size((size_t)threads, (size_t)rows), sizeof *tops, KVB_MEM_SCRATCH);
    job *jobs = kvb_alloc_array((size_t)chunks, sizeof *jobs, KVB_MEM_SCRATCH);
    kvb_status status = a && tops && jobs ? KVB_OK : KVB_E_MEMORY;
    if (status == KVB_OK) {
        for (int32_t c = 0, first = 0; c < chunks; first += head[c++]->out) {
            prepare(jobs + c, head[c], a, rows, NULL, NULL, threads);
            jobs[c].first_column = first;
        }
        for (int32_t i = 0; i < threads * rows; i++) tops[i] = (top){-INFINITY, -INFINITY, 0};
#pragma omp parallel num_threads(threads)
        {
            int32_t thread = omp_get_thread_num();
            worker k;
            begin(&k, tops + (int64_t)thread * rows);
            place_rows(x, rows, head[0]->in, NULL, 0, a, thread, omp_get_num_threads());
            kvb_amx_begin();
#pragma omp barrier
            for (int32_t c = 0; c < chunks; c++) work(&k, jobs + c, END_TOP, thread);
            kvb_amx_end();
        }
        for (int32_t r = 0; r < rows; r++) {
            top t = tops[r];
            for (int32_t i = 1; i < threads; i++) {
                const top *other = tops + (int64_t)i * rows + r;
                fold(&t, other->best, other->index);
                if (other->second > t.second) t.second = other->second;
            }
            best[r] = t.best;
            second[r] = t.second;
            index[r] = t.index;
        }
    }
    kvb_free(a);
    kvb_free(tops);
    kvb_free(jobs);
    return status;
}
#endif
