/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes.c - keys and values in bulk: out of the cache as plain f32 rows and back, and from one cache into a smaller
 * one.
 *
 * A device does it in one launch; on the host a lane's layout is the backend's secret, so it goes key by key.
 */
#include "model.h"

kvb_status kvb_lanes_read(const kvb_model *m, const kvb_lane *lane, int32_t count, int32_t tokens, bool keys,
                          kvb_tensor *out) {
    kvb_lane_kind kind = kvb_model_lane_kind(m);
    if (m->backend->lanes_read) return m->backend->lanes_read(&kind, lane, count, tokens, keys, out);
    int64_t dim = kind.head_dim;
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (count > 1)
    for (int32_t i = 0; i < count; i++)
        for (int32_t t = 0; t < tokens; t++) {
            float *to = (float *)out->data + ((int64_t)i * tokens + t) * dim;
            m->backend->lane_get(&kind, lane + i, t, keys ? to : NULL, keys ? NULL : to);
        }
    return KVB_OK;
}

kvb_status kvb_lanes_gather(const kvb_model *m, const kvb_lane *from, const kvb_lane *to, int32_t count,
                            const int32_t *position, const int64_t *at, int64_t positions) {
    kvb_lane_kind kind = kvb_model_lane_kind(m);
    if (m->backend->lanes_gather) return m->backend->lanes_gather(&kind, from, to, count, position, at, positions);
    float *key = kvb_alloc_array(kvb_mul_size(2, (size_t)kind.head_dim), sizeof *key, KVB_MEM_SCRATCH);
    if (!key) return KVB_E_MEMORY;
    float *value = key + kind.head_dim;
    for (int32_t i = 0; i < count; i++)
        for (int32_t j = 0; j < to[i].n; j++) {
            kvb_lane lane = to[i];
            m->backend->lane_get(&kind, from + i, position[at[i] + j], key, value);
            m->backend->lane_put(&kind, &lane, j, key, value);
        }
    kvb_free(key);
    return KVB_OK;
}

kvb_status kvb_lanes_write(const kvb_model *m, const kvb_lane *from, kvb_lane *to, int32_t count, int32_t tokens,
                           const kvb_tensor *keys, const kvb_tensor *values) {
    kvb_lane_kind kind = kvb_model_lane_kind(m);
    if (m->backend->lanes_write) return m->backend->lanes_write(&kind, from, to, count, tokens, keys, values);
    float *pairs = kvb_alloc_array(kvb_mul_size(2, (size_t)kind.head_dim), kvb_mul_size(sizeof *pairs, (size_t)count),
            KVB_MEM_SCRATCH);
    if (!pairs) return KVB_E_MEMORY;
#pragma omp parallel for schedule(static) num_threads(kvb_threads()) if (count > 1)
    for (int32_t i = 0; i < count; i++) {
        float *key = pairs + 2 * (int64_t)i * kind.head_dim, *value = key + kind.head_dim;
        for (int32_t t = 0; t < tokens; t++) {
            int64_t at = ((int64_t)i * tokens + t) * kind.head_dim;
            if (!keys || !values) m->backend->lane_get(&kind, from + i, t, keys ? NULL : key, values ? NULL : value);
            m->backend->lane_put(&kind, to + i, t, keys ? (const float *)keys->data + at : key,
                                 values ? (const float *)values->data + at : value);
        }
    }
    kvb_free(pairs);
    return KVB_OK;
}

static void copy_one(const kvb_model *m, const kvb_lane_copy *copy, float *key, float *value) {
    kvb_lane_kind kind = kvb_model_lane_kind(m);
    for (int32_t i = 0; i < m->desc.layers * m->desc.kv_heads; i++)
        for (int32_t j = 0; j < copy->n; j++) {
            m->backend->lane_get(&kind, copy->from + i, j, key, value);
            m->backend->lane_put(&kind, copy->to + i, j, key, value);
        }
}

kvb_status kvb_lanes_copy(const kvb_model *m, const kvb_lane_copy *copy, int32_t count) {
    kvb_lane_kind kind = kvb_model_lane_kind(m);
    if (count == 0) return KVB_OK;
    if (m->backend->lanes_copy)
        return m->backend->lanes_copy(&kind, copy, count, m->desc.layers * m->desc.kv_heads);
    float *key = kvb_alloc_array(kvb_mul_size(2, (size_t)kind.head_dim), sizeof *key, KVB_MEM_SCRATCH);
    if (!key) return KVB_E_MEMORY;
    for (int32_t i = 0; i < count; i++) copy_one(m, copy + i, key, key + kind.head_dim);
    kvb_free(key);
    return KVB_OK;
}
