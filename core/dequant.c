/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dequant.c - storage formats of weights and how each becomes float32.
 *
 * The formulas are ggml's definitions, evaluated in float32 in the order given there, so that a model dequantised here
 * has the very bits of every other reader. Elements of a block depend on nothing but the block: any split over threads
 * is exact. Inner loops have fixed trip counts and no branches, so the compiler vectorises them for the baseline
 * instruction set; the work is bound by writing the floats. Rejected: one file per instruction set (measured gain
 * under 2x of 0.2 s per load).
 *
 * Sources: ggml/docs/gguf.md and ggml-common.h (block layouts), ggml-quants.c (formulas); the safetensors README
 * (names).
 */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif
#include "weights.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weight files are little-endian and are read in place");

static inline float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* Without branches, and without passing through float32 subnormals, which a thread may have set to flush to zero. */
static inline float half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    uint32_t normal = (rest << 13) + (112u << 23);
    uint32_t special = (rest << 13) | 0x7f800000u;
    float tiny = (float)(int32_t)rest * 0x1p-24f; /* exact: rest < 1024 where it is used */
    uint32_t tiny_bits;
    memcpy(&tiny_bits, &tiny, 4);
    uint32_t bits = rest < 0x400 ? tiny_bits : rest < 0x7c00 ? normal : special;
    return from_bits(bits | sign);
}

static inline float half_at(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, 2);
    return half(h);
}

/* ---- plain formats ------------------------------------------------------------------------------------------ */

static void f32_to_f32(const uint8_t *in, float *out, int64_t n) { memcpy(out, in, (size_t)n * 4); }

static void f16_to_f32(const uint8_t *in, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = half_at(in + 2 * i);
}

static void bf16_to_f32(const uint8_t *in, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t b;
        memcpy(&b, in + 2 * i, 2);
        out[i] = from_bits((uint32_t)b << 16);
    }
}

static void f64_to_f32(const uint8_t *in, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, in + 8 * i, 8);
        out[i] = (float)x;
    }
}

#define INTEGER_READER(name, type)                                                                                     \
    static void name(const uint8_t *in, int64_t *out, int64_t n) {                                                     \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            type x;                                                                                                    \
            memcpy(&x, in + (int64_t)sizeof x * i, sizeof x);                                                          \
            out[i] = x;                                                                                                \
        }                                                                                                              \
    }
INTEGER_READER(read_i8, int8_t)
INTEGER_READER(read_u8, uint8_t)
INTEGER_READER(read_i16, int16_t)
INTEGER_READER(read_u16, uint16_t)
INTEGER_READER(read_i32, int32_t)
INTEGER_READER(read_u32, uint32_t)
INTEGER_READER(read_i64, int64_t)

/* ---- blocks of 32: the low nibbles are the first 16 elements, the high nibbles the last 16 ------------------ */

static void q4_0_to_f32(const uint8_t *in, float *out, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++, in += 18, out += 32) {
        float d = half_at(in);
        const uint8_t *q = in + 2;
        for (int j = 0; j < 16; j++) out[j] = (float)((q[j] & 15) - 8) * d;
        for (int j = 0; j < 16; j++) out[j + 16] = (float)((q[j] >> 4) - 8) * d;
    }
}

static void q4_1_to_f32(const uint8_t *in, float *out, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++, in += 20, out += 32) {
        float d = half_at(in), m = half_at(in + 2);
        const uint8_t *q = in + 4;
        for (int j = 0; j < 16; j++) out[j] = (float)(q[j] & 15) * d + m;
        for (int j = 0; j < 16; j++) out[j + 16] = (float)(q[j] >> 4) * d + m;
    }
}

/* The fifth bit of element i is bit i of a 32-bit word; spread to one byte per element first. */
static inline void fifth_bits(const uint8_t *word, uint8_t *high) {
    for (int byte = 0; byte < 4; byte++)
        for (int j = 0; j < 8; j++) high[byte * 8 + j] = (uint8_t)((word[byte] >> j & 1) << 4);
}

static void q5_0_to_f32(const uint8_t *in, float *out, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++, in += 22, out += 32) {
        float d = half_at(in);
        const uint8_t *q = in + 6;
        uint8_t high[32];
        fifth_bits(in + 2, high);
        for (int j = 0; j < 16; j++) out[j] = (float)(((q[j] & 15) | high[j]) - 16) * d;
        for (int j = 0; j < 16; j++) out[j + 16] = (float)(((q[j] >> 4) | high[j + 16]) - 16) * d;
    }
}

static void q5_1_to_f32(const uint8_t *in, float *out, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++, in += 24, out += 32) {
        float d = half_at(in), m = half_at(in + 2);
        const uint8_t *q = in + 8;
        uint8_t high[32];
        fifth_bits(in + 4, high);
        for (int j = 0; j < 16; j++) out[j] = (float)((q[j] & 15) | high[j]) * d + m;
        for (int j = 0; j < 16; j++) out[j + 16] = (float)((q[j] >> 4) | high[j + 16]) * d + m;
    }
}

static void q8_0_to_f32(const uint8_t *in, float *out, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++, in += 34, out += 32) {
        float d = half_at(in);
        for (int j = 0; j < 32; j++) out[j] = (float)(int8_t)in[2 + j] * d;
    }
}

/* ---- super-blocks of 256 ------------------------------------------------------------------------------------ */

/* Eight 6-bit scales and eight 6-bit minima in 12 bytes: the last four of each borrow their top bits. */
static inline void scale_and_min(const uint8_t *s, int j, float d, float dmin, float *scale, float *min) {
    int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    int mn = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
    *scale = d * (float)sc;
    *min = dmin * (float)mn;
}

static void q4_k_to_f32(const uint8_t *in, float *out, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++, in += 144) {
        float d = half_at(in), dmin = half_at(in + 2), scale, min;
        for (int j = 0; j < 8; j += 2, out += 64) {
            const uint8_t *q = in + 16 + 16 * j;
            scale_and_min(in + 4, j, d, dmin, &scale, &min);
            for (int i = 0; i < 32; i++) out[i] = scale * (float)(q[i] & 15) - min;
            scale_and_min(in + 4, j + 1, d, dmin, &scale, &min);
            for (int i = 0; i < 32; i++) out[i + 32] = scale * (float)(q[i] >> 4) - min;
        }
    }
}

static void q5_k_to_f32(const uint8_t *in, float *out, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++, in += 176) {
        float d = half_at(in), dmin = half_at(in + 2), scale, min;
        const uint8_t *high = in + 16;
        for (int j = 0; j < 8; j += 2, out += 64) {
            const uint8_t *q = in + 48 + 16 * j;
            scale_and_min(in + 4, j, d, dmin, &scale, &min);
            for (int i = 0; i < 32; i++) out[i] = scale * (float)((q[i] & 15) | (high[i] >> j & 1) << 4) - min;
            scale_and_min(in + 4, j + 1, d, dmin, &scale, &min);
            for (int i = 0; i < 32; i++) out[i + 32] = scale * (float)(q[i] >> 4 | (high[i] >> (j + 1) & 1) << 4) - min;
        }
    }
}

/* 16 sub-blocks of 16 with int8 scales; low nibbles in 128 bytes, two high bits each in 64. */
static void q6_k_to_f32(const uint8_t *in, float *out, int64_t blocks) {
    for (int64_t b = 0; b < blocks; b++, in += 210) {
        float d = half_at(in + 208);
        for (int part = 0; part < 8; part++, out += 32) {
            const uint8_t *low = in + 64 * (part / 4) + 32 * (part % 2);
            const uint8_t *high = in + 128 + 32 * (part / 4);
            int low_shift = part % 4 < 2 ? 0 : 4, high_shift = 2 * (part % 4);
            for (int i = 0; i < 32; i++) {
                float scale = d * (float)(int8_t)in[192 + 2 * part + i / 16];
                out[i] = scale * (float)(((low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4) - 32);
            }
        }
    }
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

typedef struct format_row {
    weight_format format;
    int32_t ggml; /* ggml's number, or -1 */
} format_row;

static const format_row rows[] = {
    {{"F32", 1, 4, f32_to_f32, NULL}, 0},      {{"F16", 1, 2, f16_to_f32, NULL}, 1},
    {{"BF16", 1, 2, bf16_to_f32, NULL}, 30},   {{"F64", 1, 8, f64_to_f32, NULL}, 28},
    {{"Q4_0", 32, 18, q4_0_to_f32, NULL}, 2},  {{"Q4_1", 32, 20, q4_1_to_f32, NULL}, 3},
    {{"Q5_0", 32, 22, q5_0_to_f32, NULL}, 6},  {{"Q5_1", 32, 24, q5_1_to_f32, NULL}, 7},
    {{"Q8_0", 32, 34, q8_0_to_f32, NULL}, 8},  {{"Q4_K", 256, 144, q4_k_to_f32, NULL}, 12},
    {{"Q5_K", 256, 176, q5_k_to_f32, NULL}, 13}, {{"Q6_K", 256, 210, q6_k_to_f32, NULL}, 14},
    {{"I8", 1, 1, NULL, read_i8}, 24},         {{"I16", 1, 2, NULL, read_i16}, 25},
    {{"I32", 1, 4, NULL, read_i32}, 26},       {{"I64", 1, 8, NULL, read_i64}, 27},
    {{"U8", 1, 1, NULL, read_u8}, -1},         {{"BOOL", 1, 1, NULL, read_u8}, -1},
    {{"U16", 1, 2, NULL, read_u16}, -1},       {{"U32", 1, 4, NULL, read_u32}, -1},
    {{"U64", 1, 8, NULL, NULL}, -1},           {{"F8_E4M3", 1, 1, NULL, NULL}, -1},
    {{"F8_E5M2", 1, 1, NULL, NULL}, -1},
    /* Known by size, so that a file holding them is still checked and listed; reading one says what is missing. */
    {{"Q8_1", 32, 40, NULL, NULL}, 9},         {{"Q2_K", 256, 84, NULL, NULL}, 10},
    {{"Q3_K", 256, 110, NULL, NULL}, 11},      {{"Q8_K", 256, 292, NULL, NULL}, 15},
    {{"IQ2_XXS", 256, 66, NULL, NULL}, 16},    {{"IQ2_XS", 256, 74, NULL, NULL}, 17},
    {{"IQ3_XXS", 256, 98, NULL, NULL}, 18},    {{"IQ1_S", 256, 50, NULL, NULL}, 19},
    {{"IQ4_NL", 32, 18, NULL, NULL}, 20},      {{"IQ3_S", 256, 110, NULL, NULL}, 21},
    {{"IQ2_S", 256, 82, NULL, NULL}, 22},      {{"IQ4_XS", 256, 136, NULL, NULL}, 23},
    {{"IQ1_M", 256, 56, NULL, NULL}, 29},      {{"TQ1_0", 256, 54, NULL, NULL}, 34},
    {{"TQ2_0", 256, 66, NULL, NULL}, 35},      {{"MXFP4", 32, 17, NULL, NULL}, 39},
};

const weight_format *kvb_format_named(const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].format.block == 1 && strcmp(rows[i].format.name, name) == 0) return &rows[i].format;
    return NULL;
}

const weight_format *kvb_format_ggml(uint32_t type) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].ggml >= 0 && (uint32_t)rows[i].ggml == type) return &rows[i].format;
    return NULL;
}
