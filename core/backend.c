/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend.c - finds a device's backend and dispatches ops to it.
 *
 * A missing op runs on the reference and is counted, so that a new backend works from its first op on and a result says
 * how much of it was really computed there. Rejected: a switch over an op enum, which every new op would have to touch.
 */
#include "model.h"
#include <stdio.h>

static _Atomic int64_t fallbacks;
static _Atomic int32_t strict;

int64_t kvb_fallbacks(void) { return atomic_load(&fallbacks); }
void kvb_strict_set(int32_t on) { atomic_store(&strict, on); }

#ifdef KVB_CUDA
kvb_status kvb_cuda_use(int32_t device);
extern const kvb_backend kvb_backend_cuda;
#else
static kvb_status no_cuda(void) {
    kvb_fail(KVB_E_UNSUPPORTED, "cuda: this build has no CUDA part");
    kvb_hint("-> build where nvcc is found, or use --device cpu");
    return KVB_E_UNSUPPORTED;
}
int32_t kvb_cuda_devices(void) { return 0; }
kvb_status kvb_cuda_device_info(int32_t ordinal, char *name, int32_t bytes, int64_t *total, int64_t *available) {
    (void)ordinal, (void)name, (void)bytes, (void)total, (void)available;
    return no_cuda();
}
#endif

const kvb_backend *kvb_backend_get(int32_t device) {
    if (device == KVB_DEVICE_CPU) return &kvb_backend_cpu;
    if (device == KVB_DEVICE_REF) return &kvb_backend_ref;
#ifdef KVB_CUDA
    if (device >= KVB_DEVICE_CUDA) return kvb_cuda_use(device) == KVB_OK ? &kvb_backend_cuda : NULL;
#else
    if (device >= KVB_DEVICE_CUDA) {
        no_cuda();
        return NULL;
    }
#endif
    kvb_fail(KVB_E_ARG, "unknown device %d", device);
    return NULL;
}

static kvb_status fall_back(const kvb_backend *backend, const char *op) {
    if (backend->alloc) return kvb_fail(KVB_E_UNSUPPORTED, "backend '%s' has no '%s'", backend->name, op);
    atomic_fetch_add(&fallbacks, 1);
    if (!atomic_load(&strict)) return KVB_OK;
    kvb_fail(KVB_E_UNSUPPORTED, "backend '%s' has no '%s' and --strict forbids the reference", backend->name, op);
    kvb_hint("-> run without --strict, or on another --device");
    return KVB_E_UNSUPPORTED;
}

static void name_memory(int32_t device, char out[32]) {
    if (device >= KVB_DEVICE_CUDA)
        snprintf(out, 32, "cuda:%d", device - KVB_DEVICE_CUDA);
    else
        snprintf(out, 32, "cpu");
}

/* An op reads and writes one memory. `t` holds its arguments, NULL where one is no tensor. */
static kvb_status check_memory(const char *op, int32_t device, const kvb_tensor *const *t, int n) {
    int32_t wanted = device >= KVB_DEVICE_CUDA ? device : 0;
    for (int i = 0; i < n; i++) {
        if (!t[i] || t[i]->constant || t[i]->device_id == wanted || (!t[i]->storage && !t[i]->device_id)) continue;
        if (device >= KVB_DEVICE_CUDA && strcmp(op, "copy") == 0) return KVB_OK;
        char there[32], here[32];
        name_memory(t[i]->device_id, there);
        name_memory(device, here);
        kvb_fail(KVB_E_ARG, "%s: one tensor is on %s, another on %s", op, here, there);
        kvb_hint("-> bring them together: t:to(\"%s\")", here);
        return KVB_E_ARG;
    }
    return KVB_OK;
}

kvb_status kvb_uninterrupted(kvb_status status) {
    if (status == KVB_OK && kvb_cancelled()) return kvb_fail(KVB_E_CANCELLED, "interrupted");
    return status;
}

/* An argument as a tensor, or NULL. */
#define AS_TENSOR(x) _Generic((x), kvb_tensor *: (x), const kvb_tensor *: (x), default: NULL)
#define TENSORS_1(a)      AS_TENSOR(a)
#define TENSORS_2(a, ...) AS_TENSOR(a), TENSORS_1(__VA_ARGS__)
#define TENSORS_3(a, ...) AS_TENSOR(a), TENSORS_2(__VA_ARGS__)
#define TENSORS_4(a, ...) AS_TENSOR(a), TENSORS_3(__VA_ARGS__)
#define TENSORS_5(a, ...) AS_TENSOR(a), TENSORS_4(__VA_ARGS__)
#define TENSORS_6(a, ...) AS_TENSOR(a), TENSORS_5(__VA_ARGS__)
#define TENSORS_7(a, ...) AS_TENSOR(a), TENSORS_6(__VA_ARGS__)
#define TENSORS_8(a, ...) AS_TENSOR(a), TENSORS_7(__VA_ARGS__)
#define PICK(_1, _2, _3, _4, _5, _6, _7, _8, name, ...) name
#define TENSORS(...)                                                                                                   \
    PICK(__VA_ARGS__, TENSORS_8, TENSORS_7, TENSORS_6, TENSORS_5, TENSORS_4, TENSORS_3, TENSORS_2, TENSORS_1, )        \
    (__VA_ARGS__)

/* Names of parameters come from ops.def, so the locals here end in an underscore. */
#define KVB_OP(op, parameters, arguments)                                                                              \
    kvb_status kvb_op_##op(int32_t device_, KVB_UNPACK parameters) {                                                   \
        const kvb_backend *backend_ = kvb_backend_get(device_);                                                        \
        if (!backend_) return kvb_diag_code();                                                                         \
        const kvb_tensor *const tensors_[] = {TENSORS arguments};                                                      \
        KVB_TRY(check_memory(#op, device_, tensors_, (int)(sizeof tensors_ / sizeof *tensors_)));                      \
        if (backend_->op) return kvb_uninterrupted(backend_->op arguments);                                            \
        KVB_TRY(fall_back(backend_, #op));                                                                             \
        return kvb_uninterrupted(kvb_backend_ref.op arguments);                                                        \
    }
#include "ops.def"
#undef KVB_OP

void *kvb_backend_alloc(const kvb_backend *b, size_t bytes, int32_t tag) {
    return b->alloc ? b->alloc(bytes, tag) : kvb_alloc(bytes, tag);
}

void kvb_backend_free(const kvb_backend *b, void *p) {
    if (b->free)
        b->free(p);
    else
        kvb_free(p);
}

kvb_status kvb_backend_upload(const kvb_backend *b, void *to, const void *from, size_t bytes) {
    if (b->upload) return b->upload(to, from, bytes);
    if (bytes) memcpy(to, from, bytes);
    return KVB_OK;
}

kvb_status kvb_backend_download(const kvb_backend *b, void *to, const void *from, size_t bytes) {
    if (b->download) return b->download(to, from, bytes);
    if (bytes) memcpy(to, from, bytes);
    return KVB_OK;
}

/* ---- packed steps: the backend's own, or the host's ---- */

static const kvb_backend *of(const kvb_step *s) { return (*(kvb_model *const *)s)->backend; }

kvb_status kvb_step_new(kvb_model *m, kvb_step **out) {
    if (!m->ready)
        return kvb_fail(KVB_E_MISSING, "model: not ready; weights are missing or kvb_model_ready was not called");
    KVB_TRY(kvb_model_enter(m));
    return m->backend->step_new ? m->backend->step_new(m, out) : kvb_host_step_new(m, out);
}

void kvb_step_free(kvb_step *s) {
    if (!s) return;
    if (of(s)->step_free)
        of(s)->step_free(s);
    else
        kvb_host_step_free(s);
}

kvb_status kvb_step_submit(kvb_step *s, const kvb_row *row, int32_t n) {
    return of(s)->step_submit ? of(s)->step_submit(s, row, n) : kvb_host_step_submit(s, row, n);
}

kvb_status kvb_step_collect(kvb_step *s) { return of(s)->step_collect ? of(s)->step_collect(s) : KVB_OK; }
int32_t kvb_step_lag(const kvb_step *s) { return of(s)->lag; }
