/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_request.c - what callers hand to a batch: new requests, and new keep-sets for sequences that stand still.
 *
 * Everything that can be wrong with a request is found here, before it is queued: a step never fails because of one.
 */
#include "batch.h"

static kvb_status check_request(const kvb_batch *b, const kvb_request *r) {
    const kvb_model_desc *d = &b->m->desc;
    if (!r->ctx) return kvb_fail(KVB_E_ARG, "batch: the context is missing or closed");
    if (r->ctx->model != b->m) return kvb_fail(KVB_E_ARG, "batch: the context belongs to another model");
    if (r->n < 1) {
        kvb_fail(KVB_E_ARG, "batch: the question has no tokens");
        kvb_hint("-> give at least one token to append");
        return KVB_E_ARG;
    }
    if (r->max_new < 0 || (r->max_new == 0 && !(r->flags & KVB_WANT_LOGITS) && !r->watch))
        return kvb_fail(KVB_E_ARG, "batch: max_new_tokens is %d, expected at least 1", r->max_new);
    if (r->logits_from < 0 || r->logits_from >= r->n)
        return kvb_fail(KVB_E_ARG, "batch: logits_from is %d, the question has %d tokens", r->logits_from, r->n);
    if (r->keep && !b->m->backend->alloc) KVB_TRY(kvb_keep_host_bits(r->keep, NULL)); /* the host's steps read them there */
    if (r->keep && r->ctx->ragged) return kvb_fail(KVB_E_ARG, "batch: an evicted context takes no keep-set");
    if (r->keep && (r->keep->layers != d->layers || r->keep->heads != d->kv_heads || r->keep->tokens != r->ctx->tokens))
        return kvb_fail(KVB_E_SHAPE,
                        "batch: the keep-set is for [%d layers, %d KV heads, %d tokens], the context is [%d, %d, %d]",
                        r->keep->layers, r->keep->heads, r->keep->tokens, d->layers, d->kv_heads, r->ctx->tokens);
    if (r->trunk < 0 || r->trunk >= r->n) {
        kvb_fail(KVB_E_ARG, "batch: trunk is %d, expected 0 to %d: the question has %d tokens and keeps one of its own",
                 r->trunk, r->n - 1, r->n);
        return KVB_E_ARG;
    }
    if (r->pause_after < 0)
        return kvb_fail(KVB_E_ARG, "batch: pause_after is %d, expected 0 or more", r->pause_after);
    if (r->position < -1)
        return kvb_fail(KVB_E_ARG, "batch: position is %d, expected 0 or more (-1 = after the context)", r->position);
    int64_t start = r->position < 0 ? r->ctx->tokens : r->position, end = start + r->n + r->max_new;
    if (end > d->max_positions) {
        kvb_fail(KVB_E_ARG, "batch: context %lld + question %d + %d new tokens exceed the model's %d positions",
                 (long long)start, r->n, r->max_new, d->max_positions);
        kvb_hint("-> shorten the passage, or ask for fewer new tokens");
        return KVB_E_ARG;
    }
    return kvb_model_check_ids(b->m, r->ids, r->n);
}

/* Lets s continue the trunk of its first tokens; a new trunk gets a sequence of its own that only feeds them. */
static kvb_status join_trunk(kvb_batch *b, kvb_sequence *s) {
    const kvb_request *r = &s->request;
    bool made;
    kvb_trunk *t;
    KVB_TRY(kvb_trunk_get(&b->trunks, r->ctx, r->keep, s->first_position, s->ids, r->trunk, &made, &t));
    if (made) {
        kvb_sequence *runner = kvb_alloc(sizeof *runner, KVB_MEM_OTHER);
        if (runner) runner->ids = kvb_alloc_array((size_t)t->n, sizeof *runner->ids, KVB_MEM_OTHER);
        if (!runner || !runner->ids) {
            kvb_free(runner);
            kvb_trunk_drop(&b->trunks, t);
            return KVB_E_MEMORY;
        }
        memcpy(runner->ids, t->ids, (size_t)t->n * sizeof *t->ids);
        runner->request = (kvb_request){.ctx = r->ctx, .keep = r->keep, .n = t->n};
        kvb_ctx_retain(r->ctx);
        kvb_keep_retain(r->keep);
        runner->first_position = s->first_position;
        runner->trunk = t;
        runner->runs_trunk = true;
        kvb_sequence_push(&b->trunk_queue, runner);
    }
    s->trunk = t;
    t->waiting++;
    return KVB_OK;
}

kvb_status kvb_batch_add(kvb_batch *b, const kvb_request *r) {
    KVB_TRY(check_request(b, r));
    kvb_sequence *s = kvb_alloc(sizeof *s, KVB_MEM_OTHER);
    if (!s) return KVB_E_MEMORY;
    s->request = *r;
    kvb_ctx_retain(r->ctx);
    kvb_keep_retain(r->keep);
    s->stop = KVB_STOP_LENGTH;
    s->pause_left = r->pause_after;
    s->first_position = r->position < 0 ? r->ctx->tokens : r->position;
    s->ids = kvb_alloc_array(kvb_add_size((size_t)r->n, (size_t)r->max_new), sizeof *s->ids, KVB_MEM_OTHER);
    s->margins = kvb_alloc_array(kvb_add_size((size_t)r->max_new, 1), sizeof *s->margins, KVB_MEM_OTHER);
    if (!s->ids || !s->margins) {
        kvb_sequence_free(s);
        return KVB_E_MEMORY;
    }
    memcpy(s->ids, r->ids, (size_t)r->n * sizeof *r->ids);
    kvb_status status = kvb_trace_new(b->m, r, &s->trace);
    s->request.temperature = NULL; /* the caller's; the trace has copies */
    s->request.patches = NULL;
    s->request.watch = NULL;
    /* A trunk is run by someone else: nothing may be wanted of its tokens. */
    int32_t first = kvb_trace_first(s->trace);
    if (r->flags & KVB_WANT_LOGITS && r->logits_from < first) first = r->logits_from;
    if (status == KVB_OK && r->trunk > 0 && r->trunk <= first && !r->pause_after) status = join_trunk(b, s);
    if (status != KVB_OK)
        kvb_sequence_free(s);
    else
        kvb_sequence_push(&b->queue, s);
    return status;
}

/* ---- pauses ---- */

int32_t kvb_batch_paused(kvb_batch *b, kvb_paused *out) {
    for (int32_t i = 0; i < b->n_live; i++) {
        kvb_sequence *s = b->live[i];
        if (!s->paused || s->flights > 0) continue;
        *out = (kvb_paused){
            .tag = s->request.tag,
            .prefix = s->request.ctx,
            .own = s->watch,
            .own_tokens = s->fed,
            .capacity = s->watch->tokens,
            .position = s->first_position,
            .question = s->request.n,
        };
        return 1;
    }
    return 0;
}

static kvb_status check_keep(const kvb_batch *b, const char *what, const kvb_keep *k, int32_t tokens) {
    const kvb_model_desc *d = &b->m->desc;
    if (!k || (k->layers == d->layers && k->heads == d->kv_heads && k->tokens == tokens)) return KVB_OK;
    return kvb_fail(KVB_E_SHAPE,
                    "batch: %s is for [%d layers, %d KV heads, %d tokens], the sequence has [%d, %d, %d]", what,
                    k->layers, k->heads, k->tokens, d->layers, d->kv_heads, tokens);
}

static kvb_sequence *find_paused(const kvb_batch *b, int64_t tag) {
    for (int32_t i = 0; i < b->n_live; i++)
        if (b->live[i]->paused && b->live[i]->request.tag == tag) return b->live[i];
    kvb_fail(KVB_E_ARG, "batch: no sequence with tag %lld stands still", (long long)tag);
    return NULL;
}

kvb_status kvb_batch_own_values(kvb_batch *b, int64_t tag, const kvb_tensor *values) {
    const kvb_model_desc *d = &b->m->desc;
    kvb_sequence *s = find_paused(b, tag);
    if (!s) return KVB_E_ARG;
    KVB_TRY(kvb_tensor_expect("batch", "own values", values, KVB_F32, 4,
                              (int64_t[]){d->layers, d->kv_heads, s->fed, d->head_dim}));
    if (!kvb_tensor_contiguous(values)) return kvb_fail(KVB_E_ARG, "batch: own values must be contiguous");
    return kvb_lanes_write(b->m, s->slot->lane, s->slot->lane, d->layers * d->kv_heads, s->fed, NULL, values);
}

kvb_status kvb_batch_resume(kvb_batch *b, int64_t tag, kvb_ctx *prefix, kvb_keep *keep, kvb_keep *own_keep,
                            int32_t pause_after) {
    kvb_sequence *s = find_paused(b, tag);
    if (!s) return KVB_E_ARG;
    if (pause_after < 0) return kvb_fail(KVB_E_ARG, "batch: pause_after is %d, expected 0 or more", pause_after);
    if (prefix && (prefix->model != b->m || prefix->ragged || prefix->tokens != s->request.ctx->tokens))
        return kvb_fail(KVB_E_ARG, "batch: the new passage is not a variant of the old one");
    if (keep && s->request.ctx->ragged) return kvb_fail(KVB_E_ARG, "batch: an evicted context takes no keep-set");
    KVB_TRY(check_keep(b, "the keep-set", keep, s->request.ctx->tokens));
    KVB_TRY(check_keep(b, "the keep-set of its own tokens", own_keep, s->watch->tokens));
    kvb_ctx_retain(prefix);
    kvb_keep_retain(keep);
    kvb_keep_retain(own_keep);
    if (prefix) {
        kvb_ctx_free(s->request.ctx);
        s->request.ctx = prefix;
    }
    kvb_keep_free(s->request.keep);
    kvb_keep_free(s->own_keep);
    s->request.keep = keep;
    s->own_keep = own_keep;
    s->pause_left = pause_after;
    s->paused = false;
    return KVB_OK;
}
