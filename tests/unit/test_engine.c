/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_engine.c - the engine through its C interface, on a tiny stored model: every allocation made to fail once, the
 * same objects used again afterwards, and nothing left behind. What the engine computes is judged by
 * tests/lua/engine_test.lua. no valgrind: the model is loaded hundreds of times; the address sanitizer watches the same
 */
#include "internal.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char folder[4096];
static kvb_weights *weights;
static const kvb_model_desc llama = {
    .layers = 2,
    .hidden = 64,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 16,
    .ffn = 96,
    .vocab = 128,
    .max_positions = 1024,
    .dtype = KVB_F32,
    .norm_eps = 1e-5,
    .rope_theta = 500000,
    .rope_kind = KVB_ROPE_LLAMA3,
    .rope_original_positions = 64,
    .rope_factor = 32,
    .rope_low_freq = 1,
    .rope_high_freq = 4,
};
static const struct {
    int32_t slot;
    const char *name;
} globals[] =
    {
        {KVB_W_EMBED, "model.embed_tokens.weight"},
        {KVB_W_FINAL_NORM, "model.norm.weight"},
        {KVB_W_LM_HEAD, "lm_head.weight"},
},
  of_layer[] = {
      {KVB_W_ATTN_NORM, "input_layernorm"}, {KVB_W_Q, "self_attn.q_proj"}, {KVB_W_K, "self_attn.k_proj"},
      {KVB_W_V, "self_attn.v_proj"},        {KVB_W_O, "self_attn.o_proj"}, {KVB_W_FFN_NORM, "post_attention_layernorm"},
      {KVB_W_GATE, "mlp.gate_proj"},        {KVB_W_UP, "mlp.up_proj"},     {KVB_W_DOWN, "mlp.down_proj"},
};
enum { GLOBALS = sizeof globals / sizeof *globals, OF_LAYER = sizeof of_layer / sizeof *of_layer };

static int open_weights(void **unused) {
    (void)unused;
    char path[4200];
    snprintf(folder, sizeof folder, "%s", __FILE__);
    char *end = strstr(folder, "unit/test_engine.c");
    if (!end) return -1;
    strcpy(end, "golden/models/llama");
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return kvb_weights_open(path, &weights) == KVB_OK ? 0 : -1;
}

static int close_weights(void **unused) {
    (void)unused;
    kvb_weights_free(weights);
    return 0;
}

/* Tries each tensor until it loads: a load that failed must be repeatable on the same model. */
static kvb_status load_all(kvb_model *m, bool insist) {
    for (int32_t i = 0; i < GLOBALS + llama.layers * OF_LAYER; i++) {
        char name[128];
        int32_t slot, layer = i < GLOBALS ? 0 : (i - GLOBALS) / OF_LAYER;
        if (i < GLOBALS) {
            slot = globals[i].slot;
            snprintf(name, sizeof name, "%s", globals[i].name);
        } else {
            slot = of_layer[(i - GLOBALS) % OF_LAYER].slot;
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, of_layer[(i - GLOBALS) % OF_LAYER].name);
        }
        kvb_status status = kvb_model_load(m, slot, layer, weights, kvb_weights_find(weights, name), 0);
        if (status != KVB_OK && insist)
            status = kvb_model_load(m, slot, layer, weights, kvb_weights_find(weights, name), 0);
        if (status != KVB_OK) return status;
    }
    return kvb_model_ready(m);
}

static kvb_model *ready_model(void) {
    kvb_model *m;
    assert_int_equal(kvb_model_new(&llama, &m), KVB_OK);
    assert_int_equal(load_all(m, false), KVB_OK);
    return m;
}

static const int32_t passage[] = {5, 17, 99, 3, 44, 81, 7, 120, 64, 31}, question[] = {8, 33, 71};
enum { PASSAGE = 10, QUESTION = 3, NEW = 5 };

/* Prefill, evict, ask both contexts; the answer's logits and ids end up in `out`. */
typedef struct outcome {
    float logits[QUESTION * 128];
    int32_t ids[NEW];
} outcome;

static kvb_status ask(kvb_model *m, outcome *out) {
    const int32_t length = PASSAGE;
    kvb_ctx *c = NULL, *e = NULL;
    kvb_keep *keep = NULL;
    kvb_batch *b = NULL;
    kvb_status status =
        kvb_prefill(m, passage, &length, 1, KVB_OBSERVE_QUERIES | KVB_OBSERVE_HIDDEN | KVB_OBSERVE_LAST_LOGITS, 4, &c);
    if (status == KVB_OK) status = kvb_keep_new(llama.layers, llama.kv_heads, PASSAGE, &keep);
    if (status == KVB_OK) status = kvb_keep_set(keep, 1, 0, 2, 9, 0);
    if (status == KVB_OK) status = kvb_ctx_evict(c, keep, &e);
    if (status == KVB_OK) status = kvb_batch_new(m, NULL, 0, 0, &b);
    kvb_request r = {.ctx = c,
                     .keep = keep,
                     .ids = question,
                     .n = QUESTION,
                     .position = -1,
                     .max_new = NEW,
                     .flags = KVB_WANT_LOGITS,
                     .tag = 1};
    if (status == KVB_OK) status = kvb_batch_add(b, &r);
    r.ctx = e, r.keep = NULL, r.tag = 2;
    if (status == KVB_OK) status = kvb_batch_add(b, &r);
    kvb_ctx_free(c); /* held by the requests */
    kvb_ctx_free(e);
    kvb_keep_free(keep);
    for (int32_t pending = 1; status == KVB_OK && pending > 0;) status = kvb_batch_step(b, &pending);
    kvb_result result;
    while (status == KVB_OK && kvb_batch_next(b, &result))
        if (result.tag == 1) {
            assert_int_equal(result.n, NEW);
            assert_int_equal(result.n_logits, QUESTION);
            memcpy(out->logits, result.logits, sizeof out->logits);
            memcpy(out->ids, result.ids, sizeof out->ids);
        }
    kvb_batch_free(b);
    return status;
}

static void every_allocation_of_a_load_may_fail(void **unused) {
    (void)unused;
    outcome expected;
    kvb_model *m = ready_model(); /* also fills the backend's own tables, which stay */
    assert_int_equal(ask(m, &expected), KVB_OK);
    kvb_model_free(m);
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_status status = KVB_E_MEMORY;
    for (int64_t n = 1; status != KVB_OK; n++) {
        assert_true(n < 1000);
        m = NULL;
        kvb_memory_fail_nth(n);
        status = kvb_model_new(&llama, &m);
        if (status == KVB_OK) status = load_all(m, false);
        kvb_memory_fail_nth(0);
        assert_true(status == KVB_OK || status == KVB_E_MEMORY);
        kvb_model_free(m);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
    }
}

/* The same model goes on after a failed load of one tensor: same answers, no bytes lost. */
static void a_failed_load_can_be_repeated(void **unused) {
    (void)unused;
    outcome expected, got;
    kvb_model *m = ready_model();
    assert_int_equal(ask(m, &expected), KVB_OK);
    int64_t bytes = kvb_model_bytes(m), parameters = kvb_model_parameters(m), before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_model_free(m);
    int64_t without = kvb_memory_bytes(KVB_MEM_ALL);
    for (int64_t n = 1; n < 200; n++) {
        assert_int_equal(kvb_model_new(&llama, &m), KVB_OK);
        int64_t calls = kvb_memory_allocations();
        kvb_memory_fail_nth(n);
        kvb_status status = load_all(m, true);
        if (status != KVB_OK) status = kvb_model_ready(m); /* what failed was getting ready */
        kvb_memory_fail_nth(0);
        assert_int_equal(status, KVB_OK);
        assert_int_equal(kvb_model_bytes(m), bytes);
        assert_int_equal(kvb_model_parameters(m), parameters);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
        bool done = kvb_memory_allocations() - calls < n;
        assert_int_equal(ask(m, &got), KVB_OK);
        assert_memory_equal(&got, &expected, sizeof got);
        kvb_model_free(m);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), without);
        if (done) break;
    }
}

static void every_allocation_of_a_run_may_fail(void **unused) {
    (void)unused;
    outcome expected, got;
    kvb_model *m = ready_model();
    assert_int_equal(ask(m, &expected), KVB_OK);
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_status status = KVB_E_MEMORY;
    for (int64_t n = 1; status != KVB_OK || n < 5; n++) {
        assert_true(n < 500);
        memset(&got, 0, sizeof got);
        kvb_memory_fail_nth(n);
        status = ask(m, &got);
        kvb_memory_fail_nth(0);
        if (status == KVB_OK)
            assert_memory_equal(&got, &expected, sizeof got); /* a smaller batch is no other answer */
        else
            assert_int_equal(status, KVB_E_MEMORY);
        assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
        assert_int_equal(ask(m, &got), KVB_OK);
        assert_memory_equal(&got, &expected, sizeof got);
    }
    kvb_model_free(m);
}

/* A step that failed (cancelled or out of memory) is repeated by the next one: nothing is lost, nothing is counted
 * twice. */
static void a_failed_step_is_repeated(void **unused) {
    (void)unused;
    outcome expected;
    kvb_model *m = ready_model();
    assert_int_equal(ask(m, &expected), KVB_OK);
    for (int32_t fail_at = 0; fail_at < 6; fail_at++)
        for (int64_t how = 0; how <= 3; how++) { /* 0: cancel; else the how-th allocation */
            const int32_t length = PASSAGE;
            kvb_ctx *c;
            kvb_keep *keep;
            kvb_batch *b;
            assert_int_equal(kvb_prefill(m, passage, &length, 1, 0, 0, &c), KVB_OK);
            assert_int_equal(kvb_keep_new(llama.layers, llama.kv_heads, PASSAGE, &keep), KVB_OK);
            assert_int_equal(kvb_keep_set(keep, 1, 0, 2, 9, 0), KVB_OK);
            assert_int_equal(kvb_batch_new(m, NULL, 0, 0, &b), KVB_OK);
            kvb_request r = {.ctx = c,
                             .keep = keep,
                             .ids = question,
                             .n = QUESTION,
                             .position = -1,
                             .max_new = NEW,
                             .flags = KVB_WANT_LOGITS};
            for (int32_t i = 0; i < 3; i++) assert_int_equal(kvb_batch_add(b, &r), KVB_OK);
            int32_t pending = 1, finished = 0;
            kvb_result result;
            for (int32_t step = 0; pending > 0; step++) {
                if (step == fail_at) {
                    if (how == 0) kvb_cancel();
                    kvb_memory_fail_nth(how);
                    kvb_status status = kvb_batch_step(b, &pending);
                    kvb_memory_fail_nth(0);
                    kvb_cancel_reset();
                    if (how == 0)
                        assert_int_equal(status, KVB_E_CANCELLED);
                    else
                        assert_true(status == KVB_OK || status == KVB_E_MEMORY);
                    if (how == 0) assert_string_equal(kvb_diag_message(), "interrupted");
                    if (pending == 0) pending = status != KVB_OK;
                } else
                    assert_int_equal(kvb_batch_step(b, &pending), KVB_OK);
                assert_true(step < 20);
            }
            for (; kvb_batch_next(b, &result); finished++) {
                assert_memory_equal(result.logits, expected.logits, sizeof expected.logits);
                assert_memory_equal(result.ids, expected.ids, sizeof expected.ids);
            }
            assert_int_equal(finished, 3);
            kvb_batch_free(b);
            kvb_keep_free(keep);
            kvb_ctx_free(c);
        }
    kvb_model_free(m);
}

static void descriptions_are_checked(void **unused) {
    (void)unused;
    kvb_model *m = NULL;
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
#define BAD(field, value, text)                                                                                        \
    do {                                                                                                               \
        kvb_model_desc d = llama;                                                                                      \
        d.field = value;                                                                                               \
        assert_int_not_equal(kvb_model_new(&d, &m), KVB_OK);                                                           \
        if (!strstr(kvb_diag_message(), text)) fail_msg("%s: '%s'", text, kvb_diag_message());                         \
    } while (0)
    BAD(layers, 0, "layers is 0");
    BAD(hidden, -1, "hidden is -1");
    BAD(heads, 3, "3 query heads cannot share 2");
    BAD(kv_heads, 0, "kv_heads is 0");
    BAD(kv_heads, 8, "kv_heads is 8");
    BAD(head_dim, 15, "head_dim is 15");
    BAD(vocab, 1, "vocab is 1");
    BAD(dtype, KVB_F16, "dtype");
    BAD(device, 7, "unknown device 7");
    BAD(norm_eps, NAN, "norm epsilon");
    BAD(rope_theta, INFINITY, "RoPE theta");
    BAD(rope_factor, 0, "RoPE factor");
    BAD(rope_kind, 3, "rope_kind");
    BAD(rope_original_positions, 0, "original positions 0");
    kvb_model_desc odd = llama;
    odd.dtype = KVB_BF16, odd.head_dim = 8;
    assert_int_equal(kvb_model_new(&odd, &m), KVB_E_UNSUPPORTED);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
    kvb_model_free(NULL);
    kvb_ctx_free(NULL);
    kvb_batch_free(NULL);
}

static void what_is_not_loaded_is_named(void **unused) {
    (void)unused;
    kvb_model *m;
    kvb_batch *b = NULL;
    kvb_ctx *c = NULL;
    const int32_t length = PASSAGE;
    assert_int_equal(kvb_model_new(&llama, &m), KVB_OK);
    assert_int_equal(kvb_model_ready(m), KVB_E_MISSING);
    assert_non_null(strstr(kvb_diag_message(), "token embedding of layer 0 was never loaded"));
    assert_int_equal(kvb_batch_new(m, NULL, 0, 0, &b), KVB_E_MISSING);
    assert_int_equal(kvb_prefill(m, passage, &length, 1, 0, 0, &c), KVB_E_MISSING);
    assert_null(c);
    int32_t q = kvb_weights_find(weights, "model.layers.0.self_attn.q_proj.weight");
    assert_int_equal(kvb_model_load(m, KVB_W_K, 0, weights, q, 0), KVB_E_SHAPE);
    assert_int_equal(kvb_model_load(m, KVB_W_Q, 2, weights, q, 0), KVB_E_ARG);
    assert_int_equal(kvb_model_load(m, KVB_W_Q_BIAS, 0, weights, q, 0), KVB_E_ARG);
    assert_int_equal(kvb_model_load(m, -1, 0, weights, q, 0), KVB_E_ARG);
    assert_int_equal(kvb_model_load(m, 99, 0, weights, q, 0), KVB_E_ARG);
    assert_int_equal(kvb_model_load(m, KVB_W_Q, 0, weights, q, 0), KVB_OK);
    assert_int_equal(kvb_model_load(m, KVB_W_Q, 0, weights, q, 0), KVB_E_ARG);
    assert_non_null(strstr(kvb_diag_message(), "loaded before"));
    kvb_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_a_load_may_fail),
        cmocka_unit_test(a_failed_load_can_be_repeated),
        cmocka_unit_test(every_allocation_of_a_run_may_fail),
        cmocka_unit_test(a_failed_step_is_repeated),
        cmocka_unit_test(descriptions_are_checked),
        cmocka_unit_test(what_is_not_loaded_is_named),
    };
    return cmocka_run_group_tests(tests, open_weights, close_weights);
}
