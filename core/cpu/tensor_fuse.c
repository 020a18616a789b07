/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor_fuse.c - chains of element-wise ops on the CPU, a tile at a time.
 *
 * Every step runs the same inner loop as the op does alone, on TILE elements whose registers stay in the first cache,
 * so the bits are the same and what is saved is the traffic of everything in between. Rejected: compiling C (no
 * compiler where it runs) and emitting machine code (a second set of loops to prove equal).
 */
#include "cpu.h"
#include "../fuse.h"
#include "tensor_cpu.h"

enum { TILE = 1024 };

typedef struct chain {
    const kvb_fuse_step *steps;
    int32_t count, n;
    const float *constants;
} chain;

/* Where an operand of this tile begins, and its step. place: a step's register. */
typedef struct operand {
    const float *at;
    int64_t step;
} operand;

static operand find(const chain *c, int32_t which, const operand *inputs, float (*place)[TILE]) {
    if (which < 0) return (operand){c->constants - 1 - which, 0};
    if (which < KVB_FUSE_STEP) return inputs[which];
    return (operand){place[c->steps[which - KVB_FUSE_STEP].into], 1};
}

static void run_tile(const chain *c, const kvb_tensor_kernels *kernels, const operand *inputs, int64_t n,
                     float (*place)[TILE], float *out) {
    for (int32_t i = 0; i < c->count; i++) {
        const kvb_fuse_step *s = c->steps + i;
        float *to = i + 1 < c->count ? place[s->into] : out;
        operand a = find(c, s->a, inputs, place), b = {c->constants, 0}, d = b;
        if (s->op != KVB_FUSE_UNARY || s->kind == UNARY_CLAMP) b = find(c, s->b, inputs, place);
        if (s->op == KVB_FUSE_WHERE || (s->op == KVB_FUSE_UNARY && s->kind == UNARY_CLAMP))
            d = find(c, s->c, inputs, place);
        if (s->op == KVB_FUSE_BINARY)
            kernels->binary(s->kind, n, a.at, a.step, b.at, b.step, to, 1);
        else if (s->op == KVB_FUSE_WHERE)
            kernels->where(n, a.at, a.step, b.at, b.step, d.at, d.step, to, 1);
        else
            kernels->unary(s->kind, n, a.at, a.step, to, 1, s->kind == UNARY_CLAMP ? *b.at : 0,
                           s->kind == UNARY_CLAMP ? *d.at : 0);
    }
}

kvb_status kvb_cpu_fuse(const kvb_fuse_step *steps, int32_t count, const kvb_tensor *const *inputs, int32_t n,
                        const float *constants, kvb_tensor *out) {
    const kvb_tensor *t[KVB_OPERANDS] = {out};
    for (int32_t i = 0; i < n; i++) t[i + 1] = inputs[i];
    kvb_loop loop = kvb_loop_over(t, n + 1, true);
    chain program = {steps, count, n, constants};
    const kvb_tensor_kernels *kernels = kvb_tensor_pick();
    int64_t tiles = kvb_round_up(loop.run, TILE) / TILE, d = loop.ndim;
#pragma omp parallel for num_threads(kvb_loop_threads(loop.outer * loop.run * count)) schedule(static)
    for (int64_t i = 0; i < loop.outer * tiles; i++) {
        float place[KVB_FUSE_REGISTERS][TILE] __attribute__((aligned(64)));
        int64_t at[KVB_OPERANDS], first = i % tiles * TILE;
        operand in[KVB_FUSE_INPUTS];
        if (kvb_cancelled()) continue;
        kvb_loop_at(&loop, i / tiles, at);
        for (int32_t k = 0; k < n; k++)
            in[k] = (operand){(const float *)inputs[k]->data + at[k + 1] + first * loop.stride[k + 1][d],
                              loop.stride[k + 1][d]};
        run_tile(&program, kernels, in, kvb_min64(TILE, loop.run - first), place,
                 (float *)out->data + at[0] + first * loop.stride[0][d]);
    }
    return KVB_OK;
}
