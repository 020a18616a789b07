/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.c - continuous batching of continuations: questions appended to (evicted) contexts, then decoded greedily.
 *
 * Every step packs one row per decoding sequence and fills the rest with question rows, admitting new requests while
 * there is room; a sequence that ends gives its slot back at once. Order and company never change a result (step.c), so
 * the packing is free to be greedy. Sequences of one passage stand beside each other, so that attention reads it once
 * for all of them. Rejected: a fixed batch that waits for its slowest member (half the rows idle once answers differ in
 * length).
 */
#include "batch.h"

static const int64_t default_bytes = (int64_t)640 << 20;
enum { TRUNK_SHARE = 4 }; /* trunks run ahead hold at most a quarter of a batch's memory */

void kvb_sequence_push(kvb_sequences *l, kvb_sequence *s) {
    s->next = NULL;
    if (l->last)
        l->last->next = s;
    else
        l->first = s;
    l->last = s;
    l->n++;
}

kvb_sequence *kvb_sequence_pop(kvb_sequences *l) {
    kvb_sequence *s = l->first;
    if (!s) return NULL;
    l->first = s->next;
    if (!l->first) l->last = NULL;
    l->n--;
    return s;
}

static void destroy_slot(const kvb_backend *b, kvb_slot *s) {
    if (!s) return;
    kvb_free(s->lane);
    kvb_backend_free(b, s->memory);
    kvb_free(s);
}

void kvb_sequence_free(kvb_sequence *s) {
    if (!s) return;
    if (s->slot) destroy_slot(s->request.ctx->model->backend, s->slot);
    kvb_ctx_free(s->watch);
    kvb_ctx_free(s->request.ctx);
    kvb_keep_free(s->request.keep);
    kvb_keep_free(s->own_keep);
    kvb_trace_free(s->trace);
    kvb_free(s->ids);
    kvb_free(s->margins);
    kvb_free(s->logits);
    kvb_free(s);
}

static void drop_free_slots(kvb_batch *b) {
    for (kvb_slot *s = b->free_slots, *next; s; s = next) {
        next = s->next;
        destroy_slot(b->m->backend, s);
    }
    b->free_slots = NULL;
}

static void free_slot(kvb_batch *b, kvb_slot *used) {
    used->next = b->free_slots;
    b->free_slots = used;
}

/* Trunks that nobody waits for any more, or all of them. */
static void drop_trunks(kvb_batch *b, bool all) {
    for (int32_t i = 0; i < KVB_TRUNK_BUCKETS; i++)
        for (kvb_trunk *t = b->trunks.bucket[i], *next; t; t = next) {
            next = t->next;
            if (!all && (t->waiting > 0 || !t->ready)) continue;
            if (t->slot) {
                b->used_bytes -= t->slot->bytes;
                b->trunk_bytes -= t->slot->bytes;
                free_slot(b, t->slot);
            }
            kvb_trunk_drop(&b->trunks, t);
        }
}

static kvb_status make_arrays(kvb_batch *b, const int32_t *stop_ids) {
    size_t rows = (size_t)b->m->step_rows;
    b->stop_ids = kvb_alloc_array((size_t)b->n_stop, sizeof *b->stop_ids, KVB_MEM_OTHER);
    b->live = kvb_alloc_array(rows, sizeof *b->live, KVB_MEM_OTHER);
    b->free_token_slots = kvb_alloc_array(rows, sizeof *b->free_token_slots, KVB_MEM_OTHER);
    b->rows = kvb_alloc_array(rows, sizeof *b->rows, KVB_MEM_OTHER);
    b->copies = kvb_alloc_array(rows, sizeof *b->copies, KVB_MEM_OTHER);
    bool ok = b->stop_ids && b->live && b->free_token_slots && b->rows && b->copies;
    for (int32_t i = 0; ok && i < KVB_MAX_FLIGHTS; i++) {
        b->flights[i].of = kvb_alloc_array(rows, sizeof *b->flights[i].of, KVB_MEM_OTHER);
        b->flights[i].asked = kvb_alloc_array(rows, sizeof *b->flights[i].asked, KVB_MEM_OTHER);
        ok = b->flights[i].of && b->flights[i].asked;
    }
    if (!ok) return KVB_E_MEMORY;
    if (b->n_stop) memcpy(b->stop_ids, stop_ids, (size_t)b->n_stop * sizeof *stop_ids);
    for (int32_t i = b->m->step_rows; i > 0; i--) b->free_token_slots[b->n_free_token_slots++] = i - 1;
    return KVB_OK;
}

kvb_status kvb_batch_new(kvb_model *m, const int32_t *stop_ids, int32_t n_stop, int64_t max_bytes, kvb_batch **out) {
    if (n_stop < 0 || max_bytes < 0)
        return kvb_fail(KVB_E_ARG, "batch: %d stop tokens, %lld bytes", n_stop, (long long)max_bytes);
    KVB_TRY(kvb_model_enter(m));
    kvb_batch *b = kvb_alloc(sizeof *b, KVB_MEM_OTHER);
    if (!b) return KVB_E_MEMORY;
    b->m = m;
    kvb_model_retain(m);
    b->n_stop = n_stop;
    kvb_status status = make_arrays(b, stop_ids);
    if (status == KVB_OK) status = kvb_step_new(m, &b->step);
    if (status != KVB_OK) {
        kvb_batch_free(b);
        return status;
    }
    /* A device's memory holds little else: half of what the weights and the step left is for sequences in flight, the
     * other half for passages. */
    b->measures = !max_bytes && m->backend->free_bytes;
    b->max_bytes = max_bytes ? max_bytes : b->measures ? m->backend->free_bytes() / 2 : default_bytes;
    *out = b;
    return KVB_OK;
}

void kvb_batch_free(kvb_batch *b) {
    if (!b) return;
    for (int32_t i = 0; i < b->n_flights && kvb_step_collect(b->step) == KVB_OK; i++) {}
    for (kvb_sequence *s; (s = kvb_sequence_pop(&b->queue));) kvb_sequence_free(s);
    for (kvb_sequence *s; (s = kvb_sequence_pop(&b->trunk_queue));) kvb_sequence_free(s);
    for (kvb_sequence *s; (s = kvb_sequence_pop(&b->finished));) kvb_sequence_free(s);
    for (int32_t i = 0; i < b->n_live; i++) kvb_sequence_free(b->live[i]);
    drop_trunks(b, true);
    drop_free_slots(b);
    kvb_sequence_free(b->returned);
    kvb_step_free(b->step);
    kvb_free(b->copies);
    for (int32_t i = 0; i < KVB_MAX_FLIGHTS; i++) {
        kvb_free(b->flights[i].of);
        kvb_free(b->flights[i].asked);
    }
    kvb_free(b->live);
    kvb_free(b->free_token_slots);
    kvb_free(b->rows);
    kvb_free(b->stop_ids);
    kvb_model_free(b->m);
    kvb_free(b);
}

void kvb_batch_refill(kvb_batch *b, int32_t on) { b->whole = !on; }

int32_t kvb_batch_shrunk(const kvb_batch *b, int64_t *bytes) {
    if (bytes) *bytes = b->max_bytes;
    return b->shrunk;
}

int32_t kvb_batch_queued(const kvb_batch *b) { return b->queue.n; }
int32_t kvb_batch_in_flight(const kvb_batch *b) { return b->n_live; }
int64_t kvb_batch_rows(const kvb_batch *b) { return b->row_count; }
int64_t kvb_batch_padded_rows(const kvb_batch *b) { return b->padded_count; }
int64_t kvb_batch_steps(const kvb_batch *b) { return b->steps; }

/* ---- admission ---- */

/* A free slot of this capacity, or a new one (stale keys in a used slot are finite and never seen). */
static kvb_status take_slot(kvb_batch *b, int32_t capacity, kvb_slot **out) {
    const kvb_model_desc *d = &b->m->desc;
    kvb_slot *s = b->free_slots;
    if (s) b->free_slots = s->next;
    if (s && s->capacity != capacity) {
        destroy_slot(b->m->backend, s);
        s = NULL;
    }
    if (!s) {
        s = kvb_alloc(sizeof *s, KVB_MEM_CACHE);
        if (!s) return KVB_E_MEMORY;
        s->capacity = capacity;
        s->bytes = kvb_model_kv_bytes(b->m, capacity);
        s->memory = kvb_backend_alloc(b->m->backend, kvb_size(s->bytes), KVB_MEM_CACHE);
        s->lane = kvb_alloc_array(kvb_mul_size((size_t)d->layers, (size_t)d->kv_heads), sizeof *s->lane, KVB_MEM_CACHE);
        if (!s->memory || !s->lane) {
            destroy_slot(b->m->backend, s);
            return KVB_E_MEMORY;
        }
    }
    kvb_model_carve_lanes(b->m, s->lane, s->memory, capacity);
    *out = s;
    return KVB_OK;
}

static int32_t capacity_of(const kvb_sequence *s) {
    return (int32_t)kvb_round_up(s->request.n + s->request.max_new, 32);
}

static bool wants_logits(const kvb_sequence *s) { return s->request.flags & KVB_WANT_LOGITS; }

static int64_t logits_bytes(const kvb_batch *b, const kvb_sequence *s) {
    if (!wants_logits(s)) return 0;
    return (int64_t)(s->request.n - s->request.logits_from) * b->m->desc.vocab * (int64_t)sizeof(float);
}

/* Its own keys and values, with pauses its queries, and the logits and records that it is asked for. */
static int64_t bytes_of(const kvb_batch *b, const kvb_sequence *s) {
    const kvb_model_desc *d = &b->m->desc;
    int64_t queries = (int64_t)d->layers * d->heads * d->head_dim * (int64_t)sizeof(float) * capacity_of(s);
    return kvb_model_kv_bytes(b->m, capacity_of(s)) + (s->request.pause_after ? queries : 0) + logits_bytes(b, s) +
           kvb_trace_bytes(s->trace);
}

/* What may be in flight in this step: no more than half of what other processes and passages have left by now. */
static int64_t budget_now(const kvb_batch *b) {
    if (!b->measures || (!b->queue.first && !b->trunk_queue.first)) return b->max_bytes;
    int64_t idle = 0;
    for (const kvb_slot *s = b->free_slots; s; s = s->next) idle += s->bytes;
    return kvb_min64(b->max_bytes, b->used_bytes + idle + b->m->backend->free_bytes() / 2);
}

static bool has_room(const kvb_batch *b, const kvb_sequence *s) {
    return b->n_live < b->m->step_rows && (b->n_live == 0 || b->used_bytes + bytes_of(b, s) <= b->budget);
}

/* Beside the others of its context: rows that read one passage are then neighbours, and attention reads it once for
 * all. */
static void insert_live(kvb_batch *b, kvb_sequence *s) {
    int32_t at = b->n_live;
    while (at > 0 && b->live[at - 1]->request.ctx != s->request.ctx) at--;
    if (at == 0) at = b->n_live;
    memmove(b->live + at + 1, b->live + at, (size_t)(b->n_live - at) * sizeof *b->live);
    b->live[at] = s;
    b->n_live++;
}

/* Everything a sequence needs while it is live, or nothing. */
static kvb_status equip(kvb_batch *b, kvb_sequence *s) {
    if (wants_logits(s) && !s->logits && !(s->logits = kvb_alloc_raw(kvb_size(logits_bytes(b, s)), KVB_MEM_CACHE)))
        return KVB_E_MEMORY;
    KVB_TRY(kvb_trace_begin(s->trace));
    KVB_TRY(take_slot(b, capacity_of(s), &s->slot));
    if (!s->request.pause_after) return KVB_OK;
    kvb_status status = kvb_ctx_watch(b->m, s->slot->lane, s->slot->capacity, &s->watch);
    if (status == KVB_OK) return KVB_OK;
    free_slot(b, s->slot);
    s->slot = NULL;
    return status;
}

static bool waits(const kvb_sequence *s) { return s->trunk && !s->runs_trunk && !s->trunk->ready; }

/* Where the next request comes from. Trunks are run ahead of those who continue them, so that these need not wait a
 * step, but only in their share of the memory: trunks that hold all of it leave room for one sequence at a time. Beyond
 * that a trunk is run when the first in the queue waits for it; both queues are in the order of the requests, so that
 * it is the next trunk or under way. */
static kvb_sequences *next_queue(kvb_batch *b) {
    const kvb_sequence *trunk = b->trunk_queue.first, *s = b->queue.first;
    if (!trunk) return &b->queue;
    bool ahead = b->trunk_bytes + bytes_of(b, trunk) <= b->max_bytes / TRUNK_SHARE;
    return ahead || !s || s->trunk == trunk->trunk ? &b->trunk_queue : &b->queue;
}

static void shrink(kvb_batch *b, int64_t bytes) {
    b->max_bytes = b->budget = bytes;
    b->shrunk++;
}

int32_t kvb_batch_relieve(kvb_batch *b, int32_t ask) {
    if (kvb_model_enter(b->m) != KVB_OK) return 0;
    bool gave = b->free_slots != NULL || !ask;
    drop_free_slots(b);
    if (ask && b->n_live > 0) shrink(b, b->used_bytes / 2);
    return b->n_live > 0 && b->used_bytes > b->max_bytes ? 2 : gave;
}

/* Admits the next request. Out of memory shrinks the budget to what is in flight: a smaller batch, not a failure. */
static kvb_status admit(kvb_batch *b, kvb_sequence **admitted) {
    *admitted = NULL;
    kvb_sequences *from = next_queue(b);
    kvb_sequence *s = from->first;
    if (!s || b->ending || !has_room(b, s) || waits(s)) return KVB_OK;
    KVB_TRY(kvb_model_cover(b->m, s->first_position + s->request.n + s->request.max_new));
    kvb_status status = equip(b, s);
    if (status == KVB_E_MEMORY && b->free_slots) {
        drop_free_slots(b);
        status = equip(b, s);
    }
    if (status == KVB_E_MEMORY && b->n_live > 0) {
        shrink(b, b->used_bytes);
        return KVB_OK;
    }
    if (status != KVB_OK) return status;
    insert_live(b, kvb_sequence_pop(from));
    if (s->trunk && !s->runs_trunk) {
        b->copies[b->n_copies++] = (kvb_lane_copy){s->trunk->slot->lane, s->slot->lane, s->trunk->n};
        s->fed = s->trunk->n;
        s->trunk->waiting--;
        s->trunk = NULL;
    }
    s->token_slot = b->free_token_slots[--b->n_free_token_slots];
    b->used_bytes += bytes_of(b, s);
    if (s->runs_trunk) b->trunk_bytes += s->slot->bytes;
    *admitted = s;
    return KVB_OK;
}

/* ---- one step ---- */

static bool decoding(const kvb_sequence *s) { return s->fed >= s->request.n; }

/* Rows that s could still feed: the rest of its question, or the token that the step before gives it. The last token of
 * an answer is never fed. */
static int32_t wanted(const kvb_sequence *s) {
    if (s->done || s->paused) return 0;
    if (s->request.pause_after && s->flights > 0) return 0; /* whether it stands still is known when the step is back */
    if (!decoding(s)) return s->request.n - s->fed;
    return s->fed < s->request.n + s->request.max_new - 1;
}

/* Adds up to `room` rows of s; returns how many. */
static int32_t take(kvb_batch *b, kvb_sequence *s, int32_t n, int32_t room) {
    int32_t want = wanted(s);
    s->taken = want < room ? want : room;
    for (int32_t i = 0; i < s->taken; i++) {
        int32_t index = s->fed + i;
        bool question = index < s->request.n, last = index >= s->request.n - 1;
        bool wants_token = last && s->request.max_new > 0;
        b->rows[n + i] = (kvb_row){
            .id = index < s->request.n + s->made ? s->ids[index] : KVB_ID_FROM_SLOT,
            .position = s->first_position + index,
            .index = index,
            .own = s->slot->lane,
            .prefix = s->request.ctx,
            .keep = s->request.keep,
            .own_keep = s->own_keep,
            .observer = s->watch,
            .trace = s->trace,
            .logits = question && s->logits && index >= s->request.logits_from
                          ? s->logits + (int64_t)(index - s->request.logits_from) * b->m->desc.vocab
                          : NULL,
            .best = wants_token ? &s->best : NULL,
            .margin = wants_token ? &s->margin : NULL,
            .slot = s->token_slot,
        };
    }
    return s->taken;
}

static kvb_status pack(kvb_batch *b, int32_t *rows) {
    int32_t n = 0, decode = 0;
    for (int32_t i = 0; i < b->n_live; i++) decode += decoding(b->live[i]) && wanted(b->live[i]) > 0;
    int32_t budget = b->m->step_rows - decode; /* rows left for questions */
    for (int32_t i = 0; i < b->n_live; i++) {
        kvb_sequence *s = b->live[i];
        bool appending = !decoding(s);
        int32_t taken = take(b, s, n, appending ? budget : 1);
        budget -= appending ? taken : 0;
        n += taken;
    }
    b->budget = budget_now(b);
    while (budget > 0) {
        kvb_sequence *admitted;
        KVB_TRY(admit(b, &admitted));
        if (!admitted) break;
        int32_t taken = take(b, admitted, n, budget);
        budget -= taken;
        n += taken;
    }
    *rows = n;
    return KVB_OK;
}

/* Gives admitted sequences their trunks' keys; a failure leaves everything to be tried again. */
static kvb_status hand_on(kvb_batch *b) {
    if (b->n_copies == 0) return KVB_OK;
    KVB_TRY(kvb_lanes_copy(b->m, b->copies, b->n_copies));
    b->n_copies = 0;
    drop_trunks(b, false);
    return KVB_OK;
}

static bool is_stop(const kvb_batch *b, int32_t id) {
    for (int32_t i = 0; i < b->n_stop; i++)
        if (b->stop_ids[i] == id) return true;
    return false;
}

/* Notes whose rows the submitted step carries. */
static void take_off(kvb_batch *b, int32_t n) {
    kvb_flight *f = b->flights + b->n_flights++;
    f->n = 0;
    for (int32_t i = 0; i < b->n_live; i++) {
        kvb_sequence *s = b->live[i];
        if (s->taken == 0) continue;
        s->fed += s->taken;
        s->flights++;
        f->of[f->n] = s;
        f->asked[f->n++] = s->request.max_new > 0 && s->fed >= s->request.n;
        s->taken = 0;
    }
    b->row_count += n;
    b->padded_count += kvb_model_bucket(b->m, n);
    b->steps++;
}

/* Takes in what a step computed for s. A token behind a stop token, fed because the host did not know yet, is
 * dropped. */
static void settle(const kvb_batch *b, kvb_sequence *s, bool asked) {
    s->flights--;
    if (s->done) return;
    if (s->request.max_new == 0) s->done = s->fed >= s->request.n && s->flights == 0;
    if (!asked) return;
    s->ids[s->request.n + s->made] = s->best;
    s->margins[s->made++] = s->margin;
    bool stopped = !(s->request.flags & KVB_IGNORE_STOP) && is_stop(b, s->best);
    if (stopped) s->stop = KVB_STOP_TOKEN;
    s->done = stopped || s->made == s->request.max_new;
    if (!s->done && s->pause_left > 0 && --s->pause_left == 0) s->paused = true;
}

static kvb_status finish(kvb_batch *b, kvb_sequence *s) {
    b->free_token_slots[b->n_free_token_slots++] = s->token_slot;
    if (s->runs_trunk) { /* its slot, and the bytes, are the trunk's now */
        s->trunk->slot = s->slot;
        s->trunk->ready = true;
        s->slot = NULL;
        kvb_sequence_free(s);
        return KVB_OK;
    }
    b->used_bytes -= bytes_of(b, s);
    kvb_status status = kvb_trace_finish(s->trace);
    kvb_ctx_free(s->watch);
    s->watch = NULL;
    free_slot(b, s->slot);
    s->slot = NULL;
    kvb_sequence_push(&b->finished, s);
    return status;
}

/* Waits for the oldest step and finishes what is done and has no other step under way. */
static kvb_status land(kvb_batch *b) {
    kvb_flight oldest = b->flights[0];
    int32_t kept = 0;
    kvb_status status = KVB_OK;
    KVB_TRY(kvb_step_collect(b->step));
    memmove(b->flights, b->flights + 1, (KVB_MAX_FLIGHTS - 1) * sizeof *b->flights);
    b->flights[KVB_MAX_FLIGHTS - 1] = oldest;
    b->n_flights--;
    for (int32_t i = 0; i < oldest.n; i++) settle(b, oldest.of[i], oldest.asked[i]);
    for (int32_t i = 0; i < b->n_live; i++) {
        kvb_sequence *s = b->live[i];
        if (s->done && s->flights == 0)
            status = finish(b, s) == KVB_OK ? status : KVB_E_MEMORY;
        else
            b->live[kept++] = s;
    }
    b->ending = b->whole && kept > 0 && (b->ending || kept < b->n_live);
    b->n_live = kept;
    return status;
}

static void drop_returned(kvb_batch *b) {
    kvb_sequence_free(b->returned);
    b->returned = NULL;
}

kvb_status kvb_batch_step(kvb_batch *b, int32_t *pending) {
    int32_t n;
    drop_returned(b);
    KVB_TRY(kvb_model_enter(b->m));
    KVB_TRY(pack(b, &n));
    KVB_TRY(hand_on(b));
    if (n > 0) {
        kvb_status status = kvb_step_submit(b->step, b->rows, n);
        if (status == KVB_E_MEMORY && b->free_slots) {
            drop_free_slots(b);
            status = kvb_step_submit(b->step, b->rows, n);
        }
        if (status == KVB_E_MEMORY && b->n_flights > 0) {
            shrink(b, b->used_bytes); /* nothing was submitted: what is under way may leave the room for it */
            n = 0;
        } else {
            KVB_TRY(status);
            take_off(b, n);
        }
    }
    if (b->n_flights > (n > 0 ? kvb_step_lag(b->step) : 0)) KVB_TRY(land(b));
    *pending = b->queue.n + b->trunk_queue.n + b->n_live;
    return KVB_OK;
}

int32_t kvb_batch_next(kvb_batch *b, kvb_result *out) {
    drop_returned(b);
    kvb_sequence *s = kvb_sequence_pop(&b->finished);
    if (!s) return 0;
    b->returned = s;
    *out = (kvb_result){
        .tag = s->request.tag,
        .ids = s->ids + s->request.n,
        .margins = s->margins,
        .logits = s->logits,
        .n = s->made,
        .n_logits = s->logits ? s->request.n - s->request.logits_from : 0,
        .stop = s->stop,
        .rows = s->fed,
    };
    if (!s->trace) return 1;
    const kvb_record *r = s->trace->record;
    out->hidden = r[KVB_REC_HIDDEN].host;
    out->top = r[KVB_REC_TOP].host;
    out->top_within = r[KVB_REC_WITHIN].host;
    out->mass = r[KVB_REC_MASS].host;
    out->weights = r[KVB_REC_WEIGHTS].host;
    out->recall = r[KVB_REC_RECALL].host;
    out->error = r[KVB_REC_ERROR].host;
    return 1;
}
