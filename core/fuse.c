/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse.c - chains of element-wise ops: the checks that every device shares, and the source of a GPU's kernel.
 *
 * A program is data, so a device may interpret it (the CPU, tile by tile) or print it as CUDA and have it compiled
 * (GPUs). The source names what the ops' own kernels compute (kernels/tensor_elementwise.cu), and is compiled without
 * contraction.
 */
#include "fuse.h"
#include <stdarg.h>
#include <stdio.h>

/* An operand of step i exists: an input, a constant, or an earlier step whose register nobody has taken since. */
static kvb_status check_operand(const kvb_fuse_step *steps, int32_t i, int32_t which, int32_t n, int32_t given) {
    if (which < 0 && -1 - which < given) return KVB_OK;
    if (which >= 0 && which < n) return KVB_OK;
    int32_t from = which - KVB_FUSE_STEP;
    if (from < 0 || from >= i)
        return kvb_fail(KVB_E_ARG, "fuse: step %d reads operand %d, which is not there", i, which);
    for (int32_t k = from + 1; k < i; k++)
        if (steps[k].into == steps[from].into)
            return kvb_fail(KVB_E_ARG, "fuse: step %d reads step %d, whose place step %d has taken", i, from, k);
    return KVB_OK;
}

/* How many of a, b, c a step reads. */
static int32_t operands(const kvb_fuse_step *s) {
    if (s->op == KVB_FUSE_WHERE || (s->op == KVB_FUSE_UNARY && s->kind == UNARY_CLAMP)) return 3;
    return s->op == KVB_FUSE_BINARY ? 2 : 1;
}

static kvb_status check_steps(const kvb_fuse_step *steps, int32_t count, int32_t n, int32_t given) {
    if (count < 1 || count > KVB_FUSE_STEPS || n < 1 || n > KVB_FUSE_INPUTS || given < 0 || given > KVB_FUSE_CONSTANTS)
        return kvb_fail(KVB_E_ARG, "fuse: %d steps, %d inputs, %d constants; at most %d, %d and %d are possible", count,
                        n, given, KVB_FUSE_STEPS, KVB_FUSE_INPUTS, KVB_FUSE_CONSTANTS);
    for (int32_t i = 0; i < count; i++) {
        const kvb_fuse_step *s = steps + i;
        const int32_t operand[] = {s->a, s->b, s->c};
        int32_t kinds = s->op == KVB_FUSE_UNARY ? UNARY_KINDS : s->op == KVB_FUSE_BINARY ? BINARY_KINDS : 1;
        if (s->op < 0 || s->op > KVB_FUSE_WHERE || s->kind < 0 || s->kind >= kinds || s->into < 0 ||
            s->into >= KVB_FUSE_REGISTERS)
            return kvb_fail(KVB_E_ARG, "fuse: step %d: op %d, kind %d, place %d", i, s->op, s->kind, s->into);
        for (int32_t k = 0; k < operands(s); k++) {
            KVB_TRY(check_operand(steps, i, operand[k], n, given));
            if (k > 0 && s->op == KVB_FUSE_UNARY && operand[k] >= 0)
                return kvb_fail(KVB_E_ARG, "fuse: step %d: the bounds of clamp are numbers", i);
        }
    }
    return KVB_OK;
}

static kvb_status check_tensors(int32_t device, const kvb_tensor *const *inputs, int32_t n, const kvb_tensor *out) {
    int32_t where = device >= KVB_DEVICE_CUDA ? device : 0;
    KVB_TRY(ref_check_output("fuse", out, KVB_F32));
    if (!kvb_tensor_contiguous(out)) return kvb_fail(KVB_E_SHAPE, "fuse: the output is not contiguous");
    for (int32_t i = 0; i < n; i++) {
        KVB_TRY(ref_check_input("fuse", "an input", inputs[i], KVB_F32, out, -1));
        if (inputs[i]->device_id != where || out->device_id != where)
            return kvb_fail(KVB_E_ARG, "fuse: tensors on several devices -> bring them together: t:to(device)");
    }
    return KVB_OK;
}

kvb_status kvb_fuse(int32_t device, const kvb_fuse_step *steps, int32_t count, const kvb_tensor *const *inputs,
                    int32_t n, const float *constants, int32_t given, kvb_tensor *out, const char *cache) {
    KVB_TRY(check_steps(steps, count, n, given));
    KVB_TRY(check_tensors(device, inputs, n, out));
    if (kvb_tensor_count(out) == 0) return KVB_OK;
    float none = 0;
    if (device == KVB_DEVICE_CPU)
        return kvb_uninterrupted(kvb_cpu_fuse(steps, count, inputs, n, given ? constants : &none, out));
#ifdef KVB_CUDA
    if (device >= KVB_DEVICE_CUDA) return kvb_cuda_fuse(device, steps, count, inputs, n, constants, given, out, cache);
#endif
    (void)cache;
    return kvb_fail(KVB_E_UNSUPPORTED, "fuse: device %d runs the ops one after another", device);
}

/* ---- CUDA source ---- */

typedef struct text {
    char *at;
    size_t used, room;
} text;

static void put(text *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(t->at + t->used, t->room - t->used, format, arguments);
    va_end(arguments);
    if (n > 0) t->used = t->used + (size_t)n < t->room ? t->used + (size_t)n : t->room - 1;
}

static const char *const unary_text[UNARY_KINDS] = {
    "-%s", "expf(%s)", "logf(%s)", "sqrtf(%s)", "fabsf(%s)", "%s < %s ? %s : %s > %s ? %s : %s", "cosf(%s)", "sinf(%s)",
    "tanhf(%s)", "sigmoid(%s)", "floorf(%s)", "rintf(%s)", "erff(%s)"};
static const char *const binary_text[BINARY_KINDS] = {
    "%s + %s", "%s - %s",  "%s * %s", "%s / %s",  "powf(%s, %s)", "larger(%s, %s)", "smaller(%s, %s)",
    "%s < %s", "%s <= %s", "%s > %s", "%s >= %s", "%s == %s",     "%s != %s"};

static void name_of(int32_t which, char out[32]) {
    if (which < 0) snprintf(out, 32, "p.constant[%d]", -1 - which);
    else if (which < KVB_FUSE_STEP) snprintf(out, 32, "x%d", which);
    else snprintf(out, 32, "s%d", which - KVB_FUSE_STEP);
}

static void put_step(text *t, const kvb_fuse_step *s, int32_t i) {
    char a[32], b[32], c[32];
    name_of(s->a, a), name_of(s->b, b), name_of(s->c, c);
    put(t, "    float s%d = ", i);
    if (s->op == KVB_FUSE_WHERE) put(t, "%s != 0 ? %s : %s", a, b, c);
    else if (s->op == KVB_FUSE_BINARY) put(t, binary_text[s->kind], a, b);
    else if (s->kind == UNARY_CLAMP) put(t, unary_text[UNARY_CLAMP], a, b, b, a, c, c, a);
    else put(t, unary_text[s->kind], a);
    put(t, ";\n");
}

const char *kvb_fuse_source(const kvb_fuse_step *steps, int32_t count, int32_t n) {
    static _Thread_local char room[16384];
    text t = {room, 0, sizeof room};
    room[0] = 0;
    put(&t,
        "struct plan { unsigned long long count; long long shape[%d], stride[%d][%d]; int ndim; float constant[%d]; };\n",
        KVB_MAX_DIMS, KVB_FUSE_INPUTS, KVB_MAX_DIMS, KVB_FUSE_CONSTANTS);
    put(&t, "struct inputs { const float *at[%d]; };\n", KVB_FUSE_INPUTS);
    put(&t,
        "__device__ float sigmoid(float x) { float e = expf(-fabsf(x)); return (x < 0 ? e : 1.0f) / (1.0f + e); }\n"
        "__device__ float larger(float a, float b) { return a != a || b != b ? __int_as_float(0x7fffffff) : a > b ? a : b; }\n"
        "__device__ float smaller(float a, float b) { return a != a || b != b ? __int_as_float(0x7fffffff) : a < b ? a : b; }\n"
        "extern \"C\" __global__ void fused(plan p, inputs in, float *y) {\n"
        "    unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x, rest = i;\n"
        "    if (i >= p.count) return;\n    long long at[%d] = {0};\n"
        "    for (int d = p.ndim - 1; d >= 0; d--) {\n"
        "        long long c = rest %% p.shape[d];\n        rest /= p.shape[d];\n"
        "        for (int k = 0; k < %d; k++) at[k] += c * p.stride[k][d];\n    }\n",
        n, n);
    for (int32_t i = 0; i < n; i++) put(&t, "    float x%d = in.at[%d][at[%d]];\n", i, i, i);
    for (int32_t i = 0; i < count; i++) put_step(&t, steps + i, i);
    put(&t, "    y[i] = s%d;\n}\n", count - 1);
    return room;
}
