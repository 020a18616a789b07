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
#include "trunk.h"

enum { MAX_FLIGHTS = 2 };
static const int64_t default_bytes = (int64_t)640 << 20;

/* Memory for one sequence's own keys and values; handed on from those that end to those that start. */
typedef struct slot {
    struct slot *next;
    kvb_lane *lane; /* [layers][kv_heads] */
    char *memory;
    int64_t bytes;
    int32_t capacity;
} slot;

typedef struct sequence {
    struct sequence *next; /* in the queue or among the finished */
    kvb_request request;   /* ctx and keep retained */
    int32_t *ids;          /* the question, then what was generated */
    float *margins;        /* of what was generated */
    float *logits;         /* [n, vocab] or NULL */
    int32_t fed, made, first_position, stop; /* fed: rows handed to steps; made: tokens that came back */
    int32_t taken;                           /* rows in the step being packed */
    int32_t best;                            /* greedy token of the last row that came back */
    float margin;
    int32_t token_slot, flights; /* while live: see kvb_row.slot; steps under way with rows of this sequence */
    bool done;                   /* nothing more to feed */
    slot *slot;                  /* while live */
    kvb_trunk *trunk;            /* what it continues (until admitted), or what it runs for others */
    bool runs_trunk;
    kvb_ctx *watch;              /* while live, with pauses: the slot as a context, for whoever evicts */
    kvb_keep *own_keep;          /* what is left of its own keys, or NULL */
    int32_t pause_left;          /* steps until it stands still; 0: it does not */
    bool paused;
} sequence;

/* A step under way: whose last row asked for a token, or only for logits. */
typedef struct flight {
    sequence **of;
    bool *asked;
    int32_t n;
} flight;

typedef struct list {
    sequence *first, *last;
    int32_t n;
} list;

struct kvb_batch {
    kvb_model *m;
    kvb_step *step;
    int32_t *stop_ids, n_stop;
    int64_t max_bytes, used_bytes;
    list queue, finished;
    list trunk_queue; /* runners of trunks: admitted before anything else, so that nobody waits long */
    kvb_trunks trunks;
    kvb_lane_copy *copies; /* [step_rows]: trunks to hand on before the step that is being packed */
    int32_t n_copies;
    slot *free_slots;
    sequence **live, *returned; /* live [step_rows] */
    int32_t n_live;
    int32_t *free_token_slots, n_free_token_slots;
    kvb_row *rows; /* [step_rows] */
    flight flights[MAX_FLIGHTS]; /* the oldest first */
    int32_t n_flights;
    int64_t row_count, padded_count, steps;
};

static void push(list *l, sequence *s) {
    s->next = NULL;
    if (l->last)
        l->last->next = s;
    else
        l->first = s;
    l->last = s;
    l->n++;
}

static sequence *pop(list *l) {
    sequence *s = l->first;
    if (!s) return NULL;
    l->first = s->next;
    if (!l->first) l->last = NULL;
    l->n--;
    return s;
}

static void destroy_slot(const kvb_backend *b, slot *s) {
    if (!s) return;
    kvb_free(s->lane);
    kvb_backend_free(b, s->memory);
    kvb_free(s);
}

static void destroy(sequence *s) {
    if (!s) return;
    if (s->slot) destroy_slot(s->request.ctx->model->backend, s->slot);
    kvb_ctx_free(s->watch);
    kvb_ctx_free(s->request.ctx);
    kvb_keep_free(s->request.keep);
    kvb_keep_free(s->own_keep);
    kvb_free(s->ids);
    kvb_free(s->margins);
    kvb_free(s->logits);
    kvb_free(s);
}

static void drop_free_slots(kvb_batch *b) {
    for (slot *s = b->free_slots, *next; s; s = next) {
        next = s->next;
        destroy_slot(b->m->backend, s);
    }
    b->free_slots = NULL;
}

static void free_slot(kvb_batch *b, slot *used) {
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
    for (int32_t i = 0; ok && i < MAX_FLIGHTS; i++) {
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
    int64_t usual = m->backend->free_bytes ? m->backend->free_bytes() / 2 : default_bytes;
    b->max_bytes = max_bytes ? max_bytes : usual;
    *out = b;
    return KVB_OK;
}

void kvb_batch_free(kvb_batch *b) {
    if (!b) return;
    for (int32_t i = 0; i < b->n_flights && kvb_step_collect(b->step) == KVB_OK; i++) {}
    for (sequence *s; (s = pop(&b->queue));) destroy(s);
    for (sequence *s; (s = pop(&b->trunk_queue));) destroy(s);
    for (sequence *s; (s = pop(&b->finished));) destroy(s);
    for (int32_t i = 0; i < b->n_live; i++) destroy(b->live[i]);
    drop_trunks(b, true);
    drop_free_slots(b);
    destroy(b->returned);
    kvb_step_free(b->step);
    kvb_free(b->copies);
    for (int32_t i = 0; i < MAX_FLIGHTS; i++) {
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

/* ---- requests ---- */

static kvb_status check_request(const kvb_batch *b, const kvb_request *r) {
    const kvb_model_desc *d = &b->m->desc;
    if (!r->ctx) return kvb_fail(KVB_E_ARG, "batch: the context is missing or closed");
    if (r->ctx->model != b->m) return kvb_fail(KVB_E_ARG, "batch: the context belongs to another model");
    if (r->n < 1) {
        kvb_fail(KVB_E_ARG, "batch: the question has no tokens");
        kvb_hint("-> give at least one token to append");
        return KVB_E_ARG;
    }
    if (r->max_new < 0 || (r->max_new == 0 && !(r->flags & KVB_WANT_LOGITS)))
        return kvb_fail(KVB_E_ARG, "batch: max_new_tokens is %d, expected at least 1", r->max_new);
    if (r->keep && !b->m->backend->alloc) KVB_TRY(kvb_keep_host_bits(r->keep, NULL)); /* the host's steps read them there */
    if (r->keep && r->ctx->ragged) return kvb_fail(KVB_E_ARG, "batch: an evicted context takes no keep-set");
    if (r->keep && (r->keep->layers != d->layers || r->keep->heads != d->kv_heads || r->keep->tokens != r->ctx->tokens))
        return kvb_fail(KVB_E_SHAPE,
                        "batch: the keep-set is for [%d layers, %d KV heads, %d tokens], the context is [%d, %d, %d]",
                        r->keep->layers, r->keep->heads, r->keep->tokens, d->layers, d->kv_heads, r->ctx->tokens);
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
static kvb_status join_trunk(kvb_batch *b, sequence *s) {
    const kvb_request *r = &s->request;
    bool made;
    kvb_trunk *t;
    KVB_TRY(kvb_trunk_get(&b->trunks, r->ctx, r->keep, s->first_position, s->ids, r->trunk, &made, &t));
    if (made) {
        sequence *runner = kvb_alloc(sizeof *runner, KVB_MEM_OTHER);
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
        push(&b->trunk_queue, runner);
    }
    s->trunk = t;
    t->waiting++;
    return KVB_OK;
}

kvb_status kvb_batch_add(kvb_batch *b, const kvb_request *r) {
    KVB_TRY(check_request(b, r));
    sequence *s = kvb_alloc(sizeof *s, KVB_MEM_OTHER);
    if (!s) return KVB_E_MEMORY;
    s->request = *r;
    kvb_ctx_retain(r->ctx);
    kvb_keep_retain(r->keep);
    s->stop = KVB_STOP_LENGTH;
    s->pause_left = r->pause_after;
    s->first_position = r->position < 0 ? r->ctx->tokens : r->position;
    s->ids = kvb_alloc_array((size_t)(r->n + r->max_new), sizeof *s->ids, KVB_MEM_OTHER);
    s->margins = kvb_alloc_array((size_t)r->max_new + 1, sizeof *s->margins, KVB_MEM_OTHER);
    bool wants = r->flags & KVB_WANT_LOGITS;
    if (wants) s->logits = kvb_alloc_array((size_t)r->n, (size_t)b->m->desc.vocab * sizeof(float), KVB_MEM_CACHE);
    if (!s->ids || !s->margins || (wants && !s->logits)) {
        destroy(s);
        return KVB_E_MEMORY;
    }
    memcpy(s->ids, r->ids, (size_t)r->n * sizeof *r->ids);
    kvb_status status = r->trunk > 0 && !wants && !r->pause_after ? join_trunk(b, s) : KVB_OK;
    if (status != KVB_OK)
        destroy(s);
    else
        push(&b->queue, s);
    return status;
}

int32_t kvb_batch_queued(const kvb_batch *b) { return b->queue.n; }
int32_t kvb_batch_in_flight(const kvb_batch *b) { return b->n_live; }
int64_t kvb_batch_rows(const kvb_batch *b) { return b->row_count; }
int64_t kvb_batch_padded_rows(const kvb_batch *b) { return b->padded_count; }
int64_t kvb_batch_steps(const kvb_batch *b) { return b->steps; }

/* ---- admission ---- */

/* A free slot of this capacity, or a new one (stale keys in a used slot are finite and never seen). */
static kvb_status take_slot(kvb_batch *b, int32_t capacity, slot **out) {
    const kvb_model_desc *d = &b->m->desc;
    slot *s = b->free_slots;
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
        s->memory = kvb_backend_alloc(b->m->backend, (size_t)s->bytes, KVB_MEM_CACHE);
        s->lane = kvb_alloc_array((size_t)d->layers * (size_t)d->kv_heads, sizeof *s->lane, KVB_MEM_CACHE);
        if (!s->memory || !s->lane) {
            destroy_slot(b->m->backend, s);
            return KVB_E_MEMORY;
        }
    }
    kvb_model_carve_lanes(b->m, s->lane, s->memory, capacity);
    *out = s;
    return KVB_OK;
}

static int32_t capacity_of(const sequence *s) { return (int32_t)kvb_round_up(s->request.n + s->request.max_new, 32); }

/* Its own keys and values, and with pauses its queries. */
static int64_t bytes_of(const kvb_batch *b, const sequence *s) {
    const kvb_model_desc *d = &b->m->desc;
    int64_t queries = (int64_t)d->layers * d->heads * d->head_dim * (int64_t)sizeof(float) * capacity_of(s);
    return kvb_model_kv_bytes(b->m, capacity_of(s)) + (s->request.pause_after ? queries : 0);
}

static bool has_room(const kvb_batch *b, const sequence *s) {
    return b->n_live < b->m->step_rows && (b->n_live == 0 || b->used_bytes + bytes_of(b, s) <= b->max_bytes);
}

/* Beside the others of its context: rows that read one passage are then neighbours, and attention reads it once for
 * all. */
static void insert_live(kvb_batch *b, sequence *s) {
    int32_t at = b->n_live;
    while (at > 0 && b->live[at - 1]->request.ctx != s->request.ctx) at--;
    if (at == 0) at = b->n_live;
    memmove(b->live + at + 1, b->live + at, (size_t)(b->n_live - at) * sizeof *b->live);
    b->live[at] = s;
    b->n_live++;
}

/* Everything a sequence needs while it is live, or nothing. */
static kvb_status equip(kvb_batch *b, sequence *s) {
    KVB_TRY(take_slot(b, capacity_of(s), &s->slot));
    if (!s->request.pause_after) return KVB_OK;
    kvb_status status = kvb_ctx_watch(b->m, s->slot->lane, s->slot->capacity, &s->watch);
    if (status == KVB_OK) return KVB_OK;
    free_slot(b, s->slot);
    s->slot = NULL;
    return status;
}

/* Admits the next request. Out of memory shrinks the budget to what is in flight: a smaller batch, not a failure. */
static kvb_status admit(kvb_batch *b, sequence **admitted) {
    *admitted = NULL;
    list *from = b->trunk_queue.first ? &b->trunk_queue : &b->queue;
    sequence *s = from->first;
    if (!s || !has_room(b, s) || (s->trunk && !s->runs_trunk && !s->trunk->ready)) return KVB_OK;
    KVB_TRY(kvb_model_cover(b->m, s->first_position + s->request.n + s->request.max_new));
    kvb_status status = equip(b, s);
    if (status == KVB_E_MEMORY && b->free_slots) {
        drop_free_slots(b);
        status = equip(b, s);
    }
    if (status == KVB_E_MEMORY && b->n_live > 0) {
        b->max_bytes = b->used_bytes;
        return KVB_OK;
    }
    if (status != KVB_OK) return status;
    insert_live(b, pop(from));
    if (s->trunk && !s->runs_trunk) {
        b->copies[b->n_copies++] = (kvb_lane_copy){s->trunk->slot->lane, s->slot->lane, s->trunk->n};
        s->fed = s->trunk->n;
        s->trunk->waiting--;
        s->trunk = NULL;
    }
    s->token_slot = b->free_token_slots[--b->n_free_token_slots];
    b->used_bytes += bytes_of(b, s);
    *admitted = s;
    return KVB_OK;
}

/* ---- one step ---- */

static bool decoding(const sequence *s) { return s->fed >= s->request.n; }

/* Rows that s could still feed: the rest of its question, or the token that the step before gives it. The last token of
 * an answer is never fed. */
static int32_t wanted(const sequence *s) {
    if (s->done || s->paused) return 0;
    if (s->request.pause_after && s->flights > 0) return 0; /* whether it stands still is known when the step is back */
    if (!decoding(s)) return s->request.n - s->fed;
    return s->fed < s->request.n + s->request.max_new - 1;
}

/* Adds up to `room` rows of s; returns how many. */
static int32_t take(kvb_batch *b, sequence *s, int32_t n, int32_t room) {
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
            .logits = question && s->logits ? s->logits + (int64_t)index * b->m->desc.vocab : NULL,
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
        sequence *s = b->live[i];
        bool appending = !decoding(s);
        int32_t taken = take(b, s, n, appending ? budget : 1);
        budget -= appending ? taken : 0;
        n += taken;
    }
    while (budget > 0) {
        sequence *admitted;
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
    flight *f = b->flights + b->n_flights++;
    f->n = 0;
    for (int32_t i = 0; i < b->n_live; i++) {
        sequence *s = b->live[i];
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

/* Takes in what a step computed for s. A token behind a stop token, fed because the host did not know yet, is dropped. */
static void settle(const kvb_batch *b, sequence *s, bool asked) {
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

static void finish(kvb_batch *b, sequence *s) {
    b->free_token_slots[b->n_free_token_slots++] = s->token_slot;
    if (s->runs_trunk) { /* its slot, and the bytes, are the trunk's now */
        s->trunk->slot = s->slot;
        s->trunk->ready = true;
        s->slot = NULL;
        destroy(s);
        return;
    }
    b->used_bytes -= bytes_of(b, s);
    kvb_ctx_free(s->watch);
    s->watch = NULL;
    free_slot(b, s->slot);
    s->slot = NULL;
    push(&b->finished, s);
}

/* Waits for the oldest step and finishes what is done and has no other step under way. */
static kvb_status land(kvb_batch *b) {
    flight oldest = b->flights[0];
    int32_t kept = 0;
    KVB_TRY(kvb_step_collect(b->step));
    memmove(b->flights, b->flights + 1, (MAX_FLIGHTS - 1) * sizeof *b->flights);
    b->flights[MAX_FLIGHTS - 1] = oldest;
    b->n_flights--;
    for (int32_t i = 0; i < oldest.n; i++) settle(b, oldest.of[i], oldest.asked[i]);
    for (int32_t i = 0; i < b->n_live; i++) {
        sequence *s = b->live[i];
        if (s->done && s->flights == 0)
            finish(b, s);
        else
            b->live[kept++] = s;
    }
    b->n_live = kept;
    return KVB_OK;
}

static void drop_returned(kvb_batch *b) {
    destroy(b->returned);
    b->returned = NULL;
}

kvb_status kvb_batch_step(kvb_batch *b, int32_t *pending) {
    int32_t n;
    drop_returned(b);
    KVB_TRY(kvb_model_enter(b->m));
    KVB_TRY(pack(b, &n));
    KVB_TRY(hand_on(b));
    if (n > 0) {
        KVB_TRY(kvb_step_submit(b->step, b->rows, n));
        take_off(b, n);
    }
    if (b->n_flights > (n > 0 ? kvb_step_lag(b->step) : 0)) KVB_TRY(land(b));
    *pending = b->queue.n + b->trunk_queue.n + b->n_live;
    return KVB_OK;
}

int32_t kvb_batch_next(kvb_batch *b, kvb_result *out) {
    drop_returned(b);
    sequence *s = pop(&b->finished);
    if (!s) return 0;
    b->returned = s;
    *out = (kvb_result){
        .tag = s->request.tag,
        .ids = s->ids + s->request.n,
        .margins = s->margins,
        .logits = s->logits,
        .n = s->made,
        .n_logits = s->logits ? s->request.n : 0,
        .stop = s->stop,
    };
    return 1;
}

/* ---- pauses ---- */

int32_t kvb_batch_paused(kvb_batch *b, kvb_paused *out) {
    for (int32_t i = 0; i < b->n_live; i++) {
        sequence *s = b->live[i];
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

static sequence *find_paused(const kvb_batch *b, int64_t tag) {
    for (int32_t i = 0; i < b->n_live; i++)
        if (b->live[i]->paused && b->live[i]->request.tag == tag) return b->live[i];
    kvb_fail(KVB_E_ARG, "batch: no sequence with tag %lld stands still", (long long)tag);
    return NULL;
}

kvb_status kvb_batch_own_values(kvb_batch *b, int64_t tag, const kvb_tensor *values) {
    const kvb_model_desc *d = &b->m->desc;
    sequence *s = find_paused(b, tag);
    if (!s) return KVB_E_ARG;
    KVB_TRY(kvb_tensor_expect("batch", "own values", values, KVB_F32, 4,
                              (int64_t[]){d->layers, d->kv_heads, s->fed, d->head_dim}));
    if (!kvb_tensor_contiguous(values)) return kvb_fail(KVB_E_ARG, "batch: own values must be contiguous");
    return kvb_lanes_write(b->m, s->slot->lane, s->slot->lane, d->layers * d->kv_heads, s->fed, NULL, values);
}

kvb_status kvb_batch_resume(kvb_batch *b, int64_t tag, kvb_ctx *prefix, kvb_keep *keep, kvb_keep *own_keep,
                            int32_t pause_after) {
    sequence *s = find_paused(b, tag);
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
