/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_trace.cu - copies between the residual stream and the memory of patches and records, a launch per level and
 * direction.
 *
 * A (row, level) has at most one patch and one record, so the moves of a launch are independent. The list is rebuilt
 * for every step that has traces; others pay for one look at each row's pointer.
 */
#include "cuda_resident.h"
#include "cuda_trace.h"
#include "look.h"
#include <algorithm>

void kvb_cuda_traces_free(kvb_cuda_traces *t) {
    kvb_free(t->moves);
    kvb_free(t->at);
    kvb_cuda_free(t->device);
    kvb_free(t->looks);
    kvb_cuda_free(t->device_looks);
    kvb_cuda_free(t->scratch);
    *t = {};
}

static kvb_status add(kvb_cuda_traces *t, float *memory, int32_t row, int32_t key) {
    if (t->n == t->room) {
        int32_t room = t->room ? 2 * t->room : 64;
        void *more = kvb_realloc(t->moves, (size_t)room * sizeof *t->moves, KVB_MEM_SCRATCH);
        if (!more) return KVB_E_MEMORY;
        t->moves = (kvb_cuda_move *)more;
        t->room = room;
    }
    t->moves[t->n++] = {memory, row, key};
    return KVB_OK;
}

/* Own row `index` of a sequence, if its attention is observed. */
static kvb_status add_look(kvb_cuda_traces *t, const kvb_trace *trace, int32_t index, int32_t row) {
    const kvb_model_desc *d = &trace->m->desc;
    if (!kvb_trace_looks(trace, index)) return KVB_OK;
    if (t->n_looks == t->look_room) {
        int32_t room = t->look_room ? 2 * t->look_room : 64;
        void *more = kvb_realloc(t->looks, (size_t)room * sizeof *t->looks, KVB_MEM_SCRATCH);
        if (!more) return KVB_E_MEMORY;
        t->looks = (kvb_cuda_look *)more;
        t->look_room = room;
    }
    kvb_look at;
    bool layer0 = kvb_look_at(trace, 0, index, &at);
    kvb_cuda_look *o = t->looks + t->n_looks++;
    *o = {};
    o->row = row;
    o->tokens = trace->tokens;
    o->n_classes = trace->watch.n_classes;
    o->n_keeps = trace->watch.n_keeps;
    o->words = trace->words;
    o->width = trace->width;
    o->within = trace->watch.within;
    o->classes = trace->device_classes;
    o->slot = trace->device_slot;
    o->keep = trace->device_keep;
    o->cells = (int64_t)d->layers * d->heads;
    o->weights = kvb_trace_weights(trace, index);
    if (layer0)
        o->top = at.top, o->top_within = at.top_within, o->mass = at.mass, o->recall = at.recall, o->error = at.error;
    int32_t keys = trace->tokens + index + 1;
    t->pitch = keys > t->pitch ? keys : t->pitch;
    return KVB_OK;
}

static kvb_status add_row(kvb_cuda_traces *t, const kvb_trace *trace, int32_t index, int32_t row) {
    for (int32_t i = 0; i < trace->n_patches; i++)
        if (trace->patch[i].row == index &&
            kvb_trace_patch(trace, trace->patch[i].layer, index) == trace->patch[i].hidden)
            KVB_TRY(add(t, (float *)trace->patch[i].hidden, row, 2 * trace->patch[i].layer));
    for (int32_t i = 0; i < trace->n_levels; i++) {
        float *place = kvb_trace_place(trace, trace->level[i], index);
        if (place) KVB_TRY(add(t, place, row, 2 * trace->level[i] + 1));
    }
    return KVB_OK;
}

static kvb_status upload(kvb_cuda_traces *t) {
    if (t->device_room < t->n) {
        kvb_cuda_free(t->device); /* waits for the steps that read it */
        t->device_room = 0;
        t->device = (kvb_cuda_move *)kvb_cuda_alloc((size_t)t->room * sizeof *t->device, KVB_MEM_SCRATCH);
        if (!t->device) return KVB_E_MEMORY;
        t->device_room = t->room;
    }
    return kvb_cuda_upload(t->device, t->moves, (size_t)t->n * sizeof *t->moves);
}

static kvb_status upload_looks(kvb_cuda_traces *t) {
    if (t->device_look_room < t->n_looks) {
        kvb_cuda_free(t->device_looks);
        t->device_look_room = 0;
        t->device_looks = (kvb_cuda_look *)kvb_cuda_alloc((size_t)t->look_room * sizeof *t->looks, KVB_MEM_SCRATCH);
        if (!t->device_looks) return KVB_E_MEMORY;
        t->device_look_room = t->look_room;
    }
    return kvb_cuda_upload(t->device_looks, t->looks, (size_t)t->n_looks * sizeof *t->looks);
}

kvb_status kvb_cuda_traces_load(kvb_cuda_traces *t, const kvb_row *row, int32_t n, int32_t levels) {
    t->n = t->n_looks = t->pitch = 0;
    t->levels = levels;
    for (int32_t r = 0; r < n; r++) {
        if (!row[r].trace) continue;
        KVB_TRY(add_row(t, row[r].trace, row[r].index, r));
        KVB_TRY(add_look(t, row[r].trace, row[r].index, r));
    }
    KVB_TRY(upload_looks(t));
    if (t->n == 0) return KVB_OK;
    if (!t->at) t->at = (int32_t *)kvb_alloc_array(2 * (size_t)levels + 1, sizeof *t->at, KVB_MEM_SCRATCH);
    if (!t->at) return KVB_E_MEMORY;
    std::sort(t->moves, t->moves + t->n, [](const kvb_cuda_move &a, const kvb_cuda_move &b) {
        return a.key != b.key ? a.key < b.key : a.row < b.row;
    });
    for (int32_t key = 0, i = 0; key <= 2 * levels; key++) {
        while (i < t->n && t->moves[i].key < key) i++;
        t->at[key] = i;
    }
    return upload(t);
}

__global__ void move_kernel(const kvb_cuda_move *moves, float *x, int32_t dim) {
    const kvb_cuda_move m = moves[blockIdx.x];
    float *row = x + (int64_t)m.row * dim;
    for (int32_t i = threadIdx.x; i < dim; i += blockDim.x) {
        if (m.key % 2)
            m.memory[i] = row[i];
        else
            row[i] = m.memory[i];
    }
}

kvb_status kvb_cuda_traces_level(const kvb_cuda_traces *t, int32_t level, float *x, int32_t dim) {
    for (int32_t key = 2 * level; t->n > 0 && key < 2 * level + 2; key++) {
        int32_t first = t->at[key], count = t->at[key + 1] - first;
        if (count == 0) continue;
        move_kernel<<<(unsigned)count, 256, 0, kvb_cuda_stream()>>>(t->device + first, x, dim);
        KVB_TRY(kvb_cuda_launched("trace"));
    }
    return KVB_OK;
}
