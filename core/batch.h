/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.h - what the two halves of continuous batching share: requests (batch_request.c) and steps (batch.c).
 *
 * A sequence is owned by exactly one list, by `live`, or by `returned`; its slot is its own while it is live.
 */
#ifndef KVB_BATCH_H
#define KVB_BATCH_H
#include "trace.h"
#include "trunk.h"

enum { KVB_MAX_FLIGHTS = 2 };

/* Memory for one sequence's own keys and values; handed on from those that end to those that start. */
typedef struct kvb_slot {
    struct kvb_slot *next;
    kvb_lane *lane; /* [layers][kv_heads] */
    char *memory;
    int64_t bytes;
    int32_t capacity;
} kvb_slot;

typedef struct kvb_sequence {
    struct kvb_sequence *next;               /* in the queue or among the finished */
    kvb_request request;                     /* ctx and keep retained */
    int32_t *ids;                            /* the question, then what was generated */
    float *margins;                          /* of what was generated */
    float *logits;                           /* [n - logits_from, vocab] once live, where wanted */
    int32_t fed, made, first_position, stop; /* fed: rows handed to steps; made: tokens that came back */
    int32_t taken;                           /* rows in the step being packed */
    int32_t best;                            /* greedy token of the last row that came back */
    float margin;
    int32_t token_slot, flights; /* while live: see kvb_row.slot; steps under way with rows of this sequence */
    bool done;                   /* nothing more to feed */
    kvb_slot *slot;              /* while live */
    kvb_trunk *trunk;            /* what it continues (until admitted), or what it runs for others */
    bool runs_trunk;
    kvb_ctx *watch;              /* while live, with pauses: the slot as a context, for whoever evicts */
    kvb_keep *own_keep;          /* what is left of its own keys, or NULL */
    kvb_trace *trace;            /* interventions and records, or NULL */
    int32_t pause_left;          /* steps until it stands still; 0: it does not */
    bool paused;
} kvb_sequence;

/* A step under way: whose last row asked for a token, or only for logits. */
typedef struct kvb_flight {
    kvb_sequence **of;
    bool *asked;
    int32_t n;
} kvb_flight;

typedef struct kvb_sequence_list { /* first in, first out */
    kvb_sequence *first, *last;
    int32_t n;
} kvb_sequences;

struct kvb_batch {
    kvb_model *m;
    kvb_step *step;
    int32_t *stop_ids, n_stop;
    int64_t max_bytes, used_bytes, trunk_bytes; /* trunk_bytes: of used_bytes, held by trunks, ready or running */
    int64_t budget;     /* of max_bytes, in the step that is being packed */
    bool measures;      /* max_bytes is the device's choice: what is free counts anew in every step */
    int32_t shrunk;     /* times that memory ran out */
    bool whole, ending; /* no refill; and one of those in flight has ended */
    kvb_sequences queue, finished;
    kvb_sequences trunk_queue; /* runners of trunks: admitted before anything else, so that nobody waits long */
    kvb_trunks trunks;
    kvb_lane_copy *copies; /* [step_rows]: trunks to hand on before the step that is being packed */
    int32_t n_copies;
    kvb_slot *free_slots;
    kvb_sequence **live, *returned; /* live [step_rows] */
    int32_t n_live;
    int32_t *free_token_slots, n_free_token_slots;
    kvb_row *rows; /* [step_rows] */
    kvb_flight flights[KVB_MAX_FLIGHTS]; /* the oldest first */
    int32_t n_flights;
    int64_t row_count, padded_count, steps;
};

void kvb_sequence_push(kvb_sequences *l, kvb_sequence *s);
kvb_sequence *kvb_sequence_pop(kvb_sequences *l); /* NULL when empty */
void kvb_sequence_free(kvb_sequence *s); /* with its slot, if it still has one */

#endif
