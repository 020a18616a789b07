/* SPDX-License-Identifier: Apache-2.0 */
/* test_observe.c - attention received and window attention against sums in double; equal bits however layers are cut.
 */
#include "cuda_test.h"
#include "observe_attention.h"

typedef struct scene {
    int n, rows, layers, first, heads, kv_heads, dim, dtype;
    float *q;   /* [layers][heads][rows][dim] */
    char *keys; /* lanes of first + layers layers */
    int64_t room;
    double *probability; /* [layers][heads][rows][n] */
} scene;

static void scene_make(scene *s) {
    int64_t n = (int64_t)s->layers * s->heads * s->rows * s->dim, all = s->first + s->layers;
    s->q = malloc((size_t)n * sizeof *s->q);
    for (int64_t i = 0; i < n; i++) s->q[i] = 2 * normal();
    s->room = kvb_round_up((int64_t)(s->n + 15) / 16 * 16 * s->dim * size_of(s->dtype), 256);
    size_t bytes = (size_t)(2 * all * s->kv_heads * s->room);
    s->keys = malloc(bytes);
    memset(s->keys, 0xff, bytes); /* NaN: values, other layers, what lies behind the last key */
    for (int64_t lane = (int64_t)s->first * s->kv_heads; lane < all * s->kv_heads; lane++)
        for (int64_t i = 0; i < (int64_t)s->n * s->dim; i++) put(s->keys + 2 * lane * s->room, i, normal(), s->dtype);
    s->probability = calloc((size_t)(s->layers * s->heads) * (size_t)s->rows * (size_t)s->n, sizeof(double));
#pragma omp parallel for collapse(3) schedule(dynamic, 8)
    for (int l = 0; l < s->layers; l++)
        for (int h = 0; h < s->heads; h++)
            for (int r = 0; r < s->rows; r++) {
                int64_t at = ((int64_t)l * s->heads + h) * s->rows + r;
                int64_t lane = (int64_t)(s->first + l) * s->kv_heads + h / (s->heads / s->kv_heads);
                double *p = s->probability + at * s->n, largest = -INFINITY, total = 0;
                int seen = s->n - s->rows + r + 1;
                for (int k = 0; k < seen; k++) {
                    for (int d = 0; d < s->dim; d++)
                        p[k] += (double)s->q[at * s->dim + d] *
                                get(s->keys + 2 * lane * s->room, (int64_t)k * s->dim + d, s->dtype);
                    p[k] /= sqrt(s->dim);
                    largest = fmax(largest, p[k]);
                }
                for (int k = 0; k < seen; k++) total += p[k] = exp(p[k] - largest);
                for (int k = 0; k < seen; k++) p[k] /= total;
            }
}

/* Device result of n floats, canaries checked; from: first layer (of the scene's), layers: how many. */
static float *run(const scene *s, int from, int layers, int window) {
    int64_t each = window ? (int64_t)s->heads * s->rows * s->n : (int64_t)s->kv_heads * s->n, n = layers * each;
    int64_t q_each = (int64_t)s->heads * s->rows * s->dim;
    enum { PAD = 1024 };
    float *y = malloc((size_t)(n + 2 * PAD) * sizeof *y);
    memset(y, 0xff, (size_t)(n + 2 * PAD) * sizeof *y);
    for (int i = 0; i < PAD; i++) y[i] = y[PAD + n + i] = 42;
    char *keys = to_device(s->keys, (size_t)(2 * (s->first + s->layers) * s->kv_heads * s->room));
    float *q = to_device(s->q + from * q_each, (size_t)(layers * q_each) * sizeof *q);
    float *dy = to_device(y, (size_t)(n + 2 * PAD) * sizeof *y);
    float *scratch = need_memory((size_t)(layers * s->heads * s->rows) * 2 * sizeof *scratch);
    kvb_cuda_observation o = {.keys = {keys, s->room, NULL},
                              .q = q,
                              .scratch = scratch,
                              .n = s->n,
                              .rows = s->rows,
                              .layer = s->first + from,
                              .layers = layers,
                              .heads = s->heads,
                              .kv_heads = s->kv_heads,
                              .head_dim = s->dim,
                              .dtype = s->dtype,
                              .scale = 1 / sqrt(s->dim)};
    need(window ? kvb_cuda_attention_window(&o, dy + PAD) : kvb_cuda_attention_received(&o, dy + PAD));
    need(kvb_cuda_download(y, dy, (size_t)(n + 2 * PAD) * sizeof *y));
    int whole = 1;
    for (int i = 0; i < PAD; i++) whole &= y[i] == 42 && y[PAD + n + i] == 42;
    if (!whole) check(0, "a canary around the output was overwritten");
    memmove(y, y + PAD, (size_t)n * sizeof *y);
    kvb_cuda_free(keys);
    kvb_cuda_free(q);
    kvb_cuda_free(dy);
    kvb_cuda_free(scratch);
    return y;
}

static void compare(const scene *s, const char *what, const float *y, const double *ref, int64_t n) {
    double error = 0, norm = 0;
    int bad = 0;
    for (int64_t i = 0; i < n; i++) {
        bad += isnan(y[i]) != 0;
        error += (y[i] - ref[i]) * (y[i] - ref[i]);
        norm += ref[i] * ref[i];
    }
    check(bad == 0 && sqrt(error / norm) < 5e-6, "%s: n %d, rows %d, heads %d/%d, dim %d, dtype %d: error %.2g, %d NaN",
          what, s->n, s->rows, s->heads, s->kv_heads, s->dim, s->dtype, sqrt(error / norm), bad);
}

static void one(int n, int rows, int heads, int kv_heads, int dim, int dtype) {
    scene s = {n, rows, 2, 1, heads, kv_heads, dim, dtype, NULL, NULL, 0, NULL};
    scene_make(&s);
    int64_t probabilities = (int64_t)s.layers * heads * rows * n, columns = (int64_t)s.layers * kv_heads * n;
    double *sum = calloc((size_t)columns, sizeof *sum);
    for (int64_t i = 0; i < probabilities; i++) {
        int64_t head = i / n / rows;
        sum[head / (heads / kv_heads) * n + i % n] += s.probability[i] / (heads / kv_heads);
    }
    float *y = run(&s, 0, s.layers, 0), *again = run(&s, 1, 1, 0);
    compare(&s, "received", y, sum, columns);
    check(memcmp(again, y + columns / 2, (size_t)(columns / 2) * sizeof *y) == 0,
          "a layer alone has the bits it has among others");
    free(y);
    free(again);
    y = run(&s, 0, s.layers, 1);
    compare(&s, "window", y, s.probability, probabilities);
    free(y);
    free(sum);
    free(s.q);
    free(s.keys);
    free(s.probability);
}

static void times(int heads, int kv_heads, int dim, int n, int rows, int layers) {
    int64_t room = kvb_round_up((int64_t)n * dim * 2, 256), q_n = (int64_t)layers * heads * rows * dim;
    kvb_cuda_observation o = {.n = n,
                              .rows = rows,
                              .layers = layers,
                              .heads = heads,
                              .kv_heads = kv_heads,
                              .head_dim = dim,
                              .dtype = KVB_BF16,
                              .scale = 1 / sqrt(dim)};
    o.keys = (kvb_cuda_lanes){need_memory((size_t)(2 * layers * kv_heads * room)), room, NULL};
    o.q = need_memory((size_t)q_n * 4);
    o.scratch = need_memory((size_t)(layers * heads * rows) * 8);
    enum { N = 1 << 18 };
    char *host = malloc(N * 4);
    for (int i = 0; i < N; i++) put(host, i, normal(), KVB_BF16);
    for (int64_t i = 0, all = 2 * layers * kv_heads * room; i < all; i += N * 2)
        need(kvb_cuda_upload(o.keys.base + i, host, (size_t)(all - i < N * 2 ? all - i : N * 2)));
    for (int i = 0; i < N; i++) put(host, i, normal(), KVB_F32);
    for (int64_t i = 0; i < q_n; i += N)
        need(kvb_cuda_upload((float *)(uintptr_t)o.q + i, host, (size_t)(q_n - i < N ? q_n - i : N) * 4));
    int64_t out = rows == n ? (int64_t)layers * kv_heads * n : (int64_t)layers * heads * rows * n;
    float *y = need_memory((size_t)out * 4), ms = 0;
    cudaEvent_t from, to;
    cudaEventCreate(&from);
    cudaEventCreate(&to);
    for (int i = 0; i < 3; i++) {
        cudaEventRecord(from, kvb_cuda_stream());
        need(rows == n ? kvb_cuda_attention_received(&o, y) : kvb_cuda_attention_window(&o, y));
        cudaEventRecord(to, kvb_cuda_stream());
        cudaEventSynchronize(to);
        cudaEventElapsedTime(&ms, from, to);
    }
    double pairs = (double)rows * (n - rows) + (double)rows * (rows + 1) / 2;
    printf("%-9s heads %d/%d dim %d, n %5d, rows %5d, %2d layers: %8.3f ms %7.1f TFLOP/s\n",
           rows == n ? "received" : "window", heads, kv_heads, dim, n, rows, layers, ms,
           pairs * 4 * dim * heads * layers / ms * 1e-9);
    kvb_cuda_free(o.keys.base);
    kvb_cuda_free((void *)(uintptr_t)o.q);
    kvb_cuda_free(o.scratch);
    kvb_cuda_free(y);
    free(host);
}

int main(int n, char **args) {
    static const int dims[] = {16, 32, 64, 80, 96, 128, 256}, lengths[] = {1, 17, 63, 64, 65, 200, 300};
    static const int shapes[][2] = {{4, 4}, {8, 2}, {6, 2}, {7, 1}};
    if (!open_gpu()) return 0;
    if (n > 1 && strcmp(args[1], "bench") == 0) {
        times(32, 8, 128, 300, 300, 32);
        times(32, 8, 128, 1450, 1450, 32);
        times(32, 8, 128, 8192, 8192, 2);
        times(32, 8, 128, 1450, 64, 32);
        times(9, 3, 64, 250, 250, 30);
        return 0;
    }
    quiet = n < 3;
    int small = n > 1 && strcmp(args[1], "small") == 0; /* for compute-sanitizer */
    for (int i = 0; i < 7; i++)
        for (int j = small ? 4 : 0; j < (small ? 5 : 7); j++) {
            random_state = (uint64_t)(i * 10 + j);
            const int *shape = shapes[(i + j) % 4];
            int length = lengths[j], dtype = (i + j) % 3 == 0 ? KVB_F32 : (i + j) % 3 == 1 ? KVB_BF16 : KVB_F16;
            one(length, length, shape[0], shape[1], dims[i], dtype);
            one(length, 1 + below(length), shape[0], shape[1], dims[i], dtype);
        }
    kvb_cuda_observation o = {.n = 4, .rows = 5, .layers = 1, .heads = 2, .kv_heads = 1, .head_dim = 64};
    check(kvb_cuda_attention_received(&o, NULL) == KVB_E_ARG, "more queries than tokens are refused");
    return closing_line();
}
