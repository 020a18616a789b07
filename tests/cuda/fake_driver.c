/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_driver.c - a libcuda.so.1 that only fails, for tests of what kvbench says on machines with a broken driver.
 * FAKE_DRIVER = the CUDA version that it claims (11000 = 11.0), FAKE_INIT = what cuInit answers (100: no device).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

int cuInit(unsigned flags) {
    (void)flags;
    return number("FAKE_INIT", 100);
}

int cuDriverGetVersion(int *version) {
    *version = number("FAKE_DRIVER", 13000);
    return 0;
}

static int fails(void) { return number("FAKE_INIT", 100); }

int cuGetProcAddress_v2(const char *symbol, void **address, int version, uint64_t flags, int *found) {
    (void)version, (void)flags;
    *address = strcmp(symbol, "cuInit") == 0               ? (void *)(uintptr_t)cuInit
               : strcmp(symbol, "cuDriverGetVersion") == 0 ? (void *)(uintptr_t)cuDriverGetVersion
               : strncmp(symbol, "cuGetProcAddress", 16) == 0 ? (void *)(uintptr_t)cuGetProcAddress_v2
                                                              : (void *)(uintptr_t)fails;
    if (found) *found = 0;
    return 0;
}

int cuGetProcAddress(const char *symbol, void **address, int version, uint64_t flags) {
    return cuGetProcAddress_v2(symbol, address, version, flags, NULL);
}
