/* SPDX-License-Identifier: Apache-2.0 */
/* attention_times.h - `test_attention bench`: every variant's time at the shapes of a sweep. Part of test_attention.c.
 */
#ifndef KVB_ATTENTION_TIMES_H
#define KVB_ATTENTION_TIMES_H

static double copy_rate; /* bytes read and written a second */

static void fill_random(char *to, int64_t bytes, int dtype) {
    int64_t n = 1 << 20, unit = n * size_of(dtype);
    char *host = malloc((size_t)unit);
    for (int64_t i = 0; i < n; i++) put(host, i, normal(), dtype);
    for (int64_t i = 0; i < bytes; i += unit)
        need(kvb_cuda_upload(to + i, host, (size_t)(bytes - i < unit ? bytes - i : unit)));
    need(kvb_cuda_wait("filling"));
    free(host);
}

static float time_calls(kvb_cuda_attention *a, kvb_status (*call)(const kvb_cuda_attention *), int layers,
                        int repeats) {
    float best[64], ms;
    cudaEvent_t from, to;
    cudaEventCreate(&from);
    cudaEventCreate(&to);
    for (int i = -2; i < repeats; i++) {
        a->layer = (i + 2) % layers;
        cudaEventRecord(from, kvb_cuda_stream());
        need(call(a));
        cudaEventRecord(to, kvb_cuda_stream());
        cudaEventSynchronize(to);
        cudaEventElapsedTime(&ms, from, to);
        if (i >= 0) best[i] = ms;
    }
    for (int i = 1; i < repeats; i++) /* median by insertion */
        for (int j = i; j > 0 && best[j] < best[j - 1]; j--) ms = best[j], best[j] = best[j - 1], best[j - 1] = ms;
    cudaEventDestroy(from);
    cudaEventDestroy(to);
    return best[repeats / 2];
}

/* `passages` passages of `passage` tokens, `seqs` sequences over each with `before` suffix tokens and `tokens` new. */
static void bench(const char *name, int dtype, int heads, int kv_heads, int dim, int passages, int passage, int seqs,
                  int before, int tokens, int masked, int layers) {
    int n_seqs = passages * seqs, n = n_seqs * tokens, size = size_of(dtype), words = (passage + 63) / 64;
    int64_t lanes = (int64_t)layers * kv_heads, own_n = before + tokens;
    int64_t prefix_room = kvb_round_up((int64_t)(passage + 15) / 16 * 16 * dim * size, 256);
    int64_t own_room = kvb_round_up((own_n + 15) / 16 * 16 * dim * size, 256);
    int64_t prefix_bytes = passages * 2 * lanes * prefix_room, own_bytes = n_seqs * 2 * lanes * own_room;
    int64_t mask_words = 28 * lanes * words;
    char *prefix = need_memory((size_t)prefix_bytes + 256), *own = need_memory((size_t)own_bytes);
    char *q = need_memory((size_t)n * (size_t)(heads * dim * size)),
         *y = need_memory((size_t)n * (size_t)(heads * dim * size));
    fill_random(prefix, prefix_bytes, dtype);
    fill_random(own, own_bytes, dtype);
    fill_random(q, (int64_t)n * heads * dim * size, dtype);
    uint64_t *mask = malloc((size_t)mask_words * 8 + 8);
    for (int64_t i = 0; i < mask_words; i++) mask[i] = random_bits();
    uint64_t *device_mask = to_device(mask, (size_t)mask_words * 8 + 8);
    kvb_cuda_seq *seq = calloc((size_t)n_seqs, sizeof *seq);
    kvb_cuda_row *row = calloc((size_t)n, sizeof *row);
    kvb_cuda_item *item = calloc((size_t)n, sizeof *item);
    for (int i = 0; i < n_seqs; i++) {
        seq[i].prefix = (kvb_cuda_lanes){prefix + i / seqs * 2 * lanes * prefix_room, prefix_room, NULL};
        seq[i].prefix_n = passage;
        seq[i].prefix_words = words;
        if (masked) seq[i].prefix_mask = device_mask + i % 28 * lanes * words; /* 28 conditions */
        seq[i].own = (kvb_cuda_lanes){own + i * 2 * lanes * own_room, own_room, NULL};
        for (int t = 0; t < tokens; t++) row[i * tokens + t] = (kvb_cuda_row){i, before + t, 0, 0};
    }
    int items = kvb_cuda_attention_plan(row, n, seq, heads / kv_heads, dim, dtype, item);
    int splits = kvb_cuda_attention_splits(row, n, seq);
    int64_t floats = kvb_cuda_part_floats(8192, heads, dim); /* what a step has */
    char *parts = need_memory((size_t)floats * 4);
    kvb_cuda_attention a = {.rows = to_device(row, (size_t)n * sizeof *row),
                            .seqs = to_device(seq, (size_t)n_seqs * sizeof *seq),
                            .items = to_device(item, (size_t)items * sizeof *item),
                            .n_rows = n,
                            .n_items = items,
                            .splits = splits,
                            .parts = (float *)parts,
                            .part_floats = floats,
                            .heads = heads,
                            .kv_heads = kv_heads,
                            .head_dim = dim,
                            .dtype = dtype,
                            .scale = 1 / sqrt(dim),
                            .q = q,
                            .y = y};
    double pairs = (double)n * passage + (double)n_seqs * tokens * (before + (tokens + 1) * 0.5);
    double flops = pairs * 4 * dim * heads;
    double bytes = ((double)passages * passage + (double)n_seqs * own_n) * 2 * kv_heads * dim * size +
                   2.0 * n * heads * dim * size;
    variant v[MOST_VARIANTS];
    int n_variants = variants_of(dtype, v);
    for (int i = 0; i < n_variants; i++) {
        if ((i == 0 && n_variants > 1 && flops > 3e9) || (v[i].cut && items != n)) continue;
        float ms = time_calls(&a, v[i].run, layers, 15);
        printf("%-34s %-24s %6d rows %8.4f ms %8.1f TFLOP/s %8.0f GB/s (%4.1f %% of copy)\n", name, v[i].name, n, ms,
               flops / ms * 1e-9, bytes / ms * 1e-6, bytes / ms * 1e3 / copy_rate * 100);
        fflush(stdout);
    }
    kvb_cuda_free(prefix);
    kvb_cuda_free(own);
    kvb_cuda_free(q);
    kvb_cuda_free(y);
    kvb_cuda_free(device_mask);
    kvb_cuda_free(parts);
    kvb_cuda_free((void *)(uintptr_t)a.rows);
    kvb_cuda_free((void *)(uintptr_t)a.seqs);
    kvb_cuda_free((void *)(uintptr_t)a.items);
    free(mask);
    free(seq);
    free(row);
    free(item);
}

static void times(void) {
    enum { B = KVB_BF16 };
    int64_t bytes = 2ll << 30;
    char *from = need_memory((size_t)bytes), *to = need_memory((size_t)bytes);
    cudaEvent_t begin, end;
    float ms;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    for (int i = 0; i < 3; i++) {
        cudaEventRecord(begin, kvb_cuda_stream());
        cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToDevice, kvb_cuda_stream());
        cudaEventRecord(end, kvb_cuda_stream());
        cudaEventSynchronize(end);
        cudaEventElapsedTime(&ms, begin, end);
    }
    copy_rate = 2.0 * (double)bytes / ms * 1e3;
    printf("%s, copy %.0f GB/s read and written\n", kvb_cuda_current()->name, copy_rate * 1e-9);
    kvb_cuda_free(from);
    kvb_cuda_free(to);
    random_state = 1;
    bench("8b append 60 + 15", B, 32, 8, 128, 2, 60, 273, 0, 15, 1, 4);
    bench("8b append 60 + 15, full", B, 32, 8, 128, 2, 60, 273, 0, 15, 0, 4);
    bench("8b append 300 + 15", B, 32, 8, 128, 2, 300, 273, 0, 15, 1, 4);
    bench("8b append 1450 + 15", B, 32, 8, 128, 2, 1450, 273, 0, 15, 1, 4);
    bench("8b decode 60 + 20", B, 32, 8, 128, 4, 60, 2048, 19, 1, 1, 2);
    bench("8b decode 60 + 40", B, 32, 8, 128, 4, 60, 2048, 39, 1, 1, 2);
    bench("8b decode 300 + 20", B, 32, 8, 128, 4, 300, 2048, 19, 1, 1, 2);
    bench("8b decode 1450 + 20", B, 32, 8, 128, 4, 1450, 2048, 19, 1, 1, 2);
    bench("8b decode 1450 + 20, full", B, 32, 8, 128, 4, 1450, 2048, 19, 1, 0, 2);
    bench("8b decode 60 + 20, 28 a passage", B, 32, 8, 128, 292, 60, 28, 19, 1, 1, 2);
    bench("8b prefill 8192", B, 32, 8, 128, 1, 0, 1, 0, 8192, 0, 4);
    bench("8b prefill 4 x 2048", B, 32, 8, 128, 4, 0, 1, 0, 2048, 0, 4);
    bench("8b prefill 32 x 256", B, 32, 8, 128, 32, 0, 1, 0, 256, 0, 4);
    bench("8b prefill 128 x 60", B, 32, 8, 128, 128, 0, 1, 0, 60, 0, 4);
    bench("8b prefill 1 x 250", B, 32, 8, 128, 1, 0, 1, 0, 250, 0, 4);
    bench("8b decode alone 1450 + 20", B, 32, 8, 128, 1, 1450, 1, 19, 1, 0, 4);
    bench("8b decode alone, 8192 own", B, 32, 8, 128, 1, 0, 1, 8191, 1, 0, 4);
    bench("8b decode alone, 32768 own", B, 32, 8, 128, 1, 0, 1, 32767, 1, 0, 4);
    bench("8b question alone 1450 + 15", B, 32, 8, 128, 1, 1450, 1, 0, 15, 0, 4);
    bench("8b decode 8, 8192 own each", B, 32, 8, 128, 8, 0, 1, 8191, 1, 0, 2);
    bench("8b decode 28 over one 32768", B, 32, 8, 128, 1, 32768, 28, 19, 1, 1, 2);
    bench("8b decode 100 over one 8192", B, 32, 8, 128, 1, 8192, 100, 19, 1, 1, 2);
    bench("8b decode 32, 8192 own each", B, 32, 8, 128, 32, 0, 1, 8191, 1, 0, 1);
    bench("8b decode 32, 1450 own each", B, 32, 8, 128, 32, 0, 1, 1449, 1, 0, 2);
    bench("8b decode 64, 1450 own each", B, 32, 8, 128, 64, 0, 1, 1449, 1, 0, 2);
    bench("smollm2 decode alone 1450 + 20", B, 9, 3, 64, 1, 1450, 1, 19, 1, 0, 4);
    bench("8b f16 append 300 + 15", KVB_F16, 32, 8, 128, 2, 300, 273, 0, 15, 1, 4);
    bench("smollm2 append 250 + 15", B, 9, 3, 64, 2, 250, 273, 0, 15, 1, 4);
    bench("smollm2 decode 250 + 20", B, 9, 3, 64, 4, 250, 2048, 19, 1, 1, 2);
    bench("smollm2 prefill 8192", B, 9, 3, 64, 1, 0, 1, 0, 8192, 0, 4);
    bench("smollm2 prefill 32 x 256", B, 9, 3, 64, 32, 0, 1, 0, 256, 0, 4);
    bench("smollm2 f32 append 250 + 15", KVB_F32, 9, 3, 64, 2, 250, 273, 0, 15, 1, 4);
    bench("smollm2 f32 prefill 32 x 256", KVB_F32, 9, 3, 64, 32, 0, 1, 0, 256, 0, 4);
    bench("qwen 7b append 300 + 15", B, 28, 4, 128, 2, 300, 273, 0, 15, 1, 4);
    bench("dim 256 prefill 8192", B, 16, 8, 256, 1, 0, 1, 0, 8192, 0, 4);
    bench("dim 96 prefill 8192", B, 32, 8, 96, 1, 0, 1, 0, 8192, 0, 4);
    bench("dim 80 prefill 8192", B, 32, 8, 80, 1, 0, 1, 0, 8192, 0, 4);
    bench("dim 64 prefill 8192", B, 32, 8, 64, 1, 0, 1, 0, 8192, 0, 4);
}

#endif
