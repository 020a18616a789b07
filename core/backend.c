/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend.c - finds a device's backend and dispatches ops to it.
 *
 * A missing op runs on the reference and is counted, so that a new backend works from its first op on and a result says how
 * much of it was really computed there. Rejected: a switch over an op enum, which every new op would have to touch.
 */
#include "backend.h"
#include <stdatomic.h>

static _Atomic int64_t fallbacks;
static _Atomic int32_t strict;

int64_t kvb_fallbacks(void) { return atomic_load(&fallbacks); }
void kvb_strict_set(int32_t on) { atomic_store(&strict, on); }

const kvb_backend *kvb_backend_get(int32_t device) {
    if (device == KVB_DEVICE_CPU) return &kvb_backend_cpu;
    if (device == KVB_DEVICE_REF) return &kvb_backend_ref;
    kvb_fail(KVB_E_ARG, "unknown device %d", device);
    return NULL;
}

static kvb_status fall_back(const char *backend, const char *op) {
    atomic_fetch_add(&fallbacks, 1);
    if (!atomic_load(&strict)) return KVB_OK;
    kvb_fail(KVB_E_UNSUPPORTED, "backend '%s' has no '%s' and --strict forbids the reference", backend, op);
    kvb_hint("-> run without --strict, or on another --device");
    return KVB_E_UNSUPPORTED;
}

/* Names of parameters come from ops.def, so the locals here end in an underscore. */
#define KVB_OP(op, parameters, arguments)                                                                              \
    kvb_status kvb_op_##op(int32_t device_, KVB_UNPACK parameters) {                                                   \
        const kvb_backend *backend_ = kvb_backend_get(device_);                                                        \
        if (!backend_) return KVB_E_ARG;                                                                               \
        if (backend_->op) return backend_->op arguments;                                                               \
        KVB_TRY(fall_back(backend_->name, #op));                                                                       \
        return kvb_backend_ref.op arguments;                                                                           \
    }
#include "ops.def"
#undef KVB_OP
