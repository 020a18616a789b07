/* SPDX-License-Identifier: Apache-2.0 */
/*
 * no_thread.c - loaded in front of the C library (LD_PRELOAD) by tests/fault/threads_test.lua: thread creation number
 * NO_THREAD of the process (1 = the first), and every later one, fails as it does at a limit on processes.
 *
 * Rejected: `ulimit -u` (root is exempt, and tests often run as root).
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef int creator(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    static _Atomic int made;
    const char *first = getenv("NO_THREAD");
    creator *real = (creator *)dlsym(RTLD_NEXT, "pthread_create");
    if (first && atomic_fetch_add(&made, 1) + 1 >= atoi(first)) return EAGAIN;
    return real(thread, attributes, run, argument);
}
