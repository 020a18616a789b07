/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uniform.c - reference of uniform: numbers in [0, 1) with 24 bits, element i of the row-major order from a counter.
 *
 * Element i is the finisher of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014, doi:10.1145/2714064.2660195) applied to
 * seed + (first + i + 1) * golden gamma: a counter, not a stream, so that any block of a tensor can be drawn alone, on
 * any device, in any order, with the same result.
 */
#include "operands.h"

kvb_status ref_uniform(kvb_tensor *y, uint64_t seed, int64_t first) {
    KVB_TRY(ref_check_output("uniform", y, KVB_F32));
    uint64_t counter = seed + (uint64_t)first * 0x9e3779b97f4a7c15u;
    for (ref_walk w = ref_walk_start(y); w.more; ref_walk_next(&w, y)) {
        uint64_t z = counter += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        *ref_f32(y, &w) = (float)(z >> 40) * 0x1p-24f;
    }
    return KVB_OK;
}
