/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sandbox.c - what a locked process cannot do, tried with the system calls themselves: native code that broke out
 * of an interpreter would have no more than this. no valgrind: the child may not make the system calls that valgrind
 * makes
 */
#include "internal.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs check() in a locked child; its exit status, or 128 + signal. */
static int locked(int (*check)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        if (kvb_sandbox_lock((int64_t)1 << 30, 2) != KVB_OK) _exit(99);
        _exit(check());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Only where no sanitizer is: its runtime makes forbidden calls of its own in a locked child, and ends it. */
#if !defined(__SANITIZE_ADDRESS__)
/* The number of the first attempt that was not refused, or 0. */
static int forbidden(void) {
    const char *const argv[] = {"/bin/true", NULL};
    long attempts[] = {
        syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY), syscall(SYS_socket, AF_INET, SOCK_STREAM, 0),
        syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), syscall(SYS_execve, argv[0], argv, NULL),
        syscall(SYS_kill, getppid(), 0), syscall(SYS_unlinkat, AT_FDCWD, "/tmp/kvb-no-such-file", 0),
        syscall(SYS_ptrace, 0, 0, 0, 0), syscall(SYS_dup, 0), syscall(SYS_prctl, 4, 1, 0, 0, 0),
        syscall(SYS_memfd_create, "x", 0), syscall(SYS_io_uring_setup, 1, NULL), syscall(SYS_bpf, 0, NULL, 0),
    };
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        if (attempts[i] >= 0) return (int)i + 1;
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        return 50;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return 51; /* plain memory is what it may have */
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0) return 52;
    if (mprotect(page, 4096, PROT_READ) != 0) return 53;
    return errno == EPERM ? 0 : 54;
}

static int grow(void) {
    for (int i = 0; i < 4096; i++) {
        char *p = malloc(1 << 20);
        if (!p) return i < 1024 ? 7 : 8;
        memset(p, 1, 1 << 20);
    }
    return 9;
}
#endif

static int spin(void) {
    for (volatile int64_t i = 0; i >= 0; i++) {}
    return 0;
}

static void nothing_but_computing(void **unused) {
    (void)unused;
#if !defined(__SANITIZE_ADDRESS__)
    assert_int_equal(locked(forbidden), 0);
#endif
}

static void memory_and_time_are_bounded(void **unused) {
    (void)unused;
#if !defined(__SANITIZE_ADDRESS__)
    assert_int_equal(locked(grow), 7);
#endif
    assert_int_equal(locked(spin), 128 + SIGKILL);
}

static void a_child_that_is_silent_or_gone(void **unused) {
    (void)unused;
    const char *const sleeper[] = {"/bin/sleep", "100", NULL}, *const brief[] = {"/bin/true", NULL};
    const char *const absent[] = {"/nowhere/program", NULL}, *const none[] = {NULL};
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    kvb_sandbox *s = NULL;
    char byte;
    assert_int_equal(kvb_sandbox_start(absent, none, &s), KVB_E_IO);
    assert_int_equal(kvb_sandbox_start(sleeper, none, &s), KVB_OK);
    double from = kvb_time();
    assert_int_equal(kvb_sandbox_receive(s, &byte, 1, .3), KVB_E_IO);
    assert_string_equal(kvb_diag_message(), "no answer within 0.3 seconds");
    assert_true(kvb_time() - from < 5);
    char *much = calloc(1, 4 << 20); /* nobody reads: the socket fills */
    assert_int_equal(kvb_sandbox_send(s, much, 4 << 20, .3), KVB_E_IO);
    free(much);
    kvb_sandbox_close(s);
    assert_int_equal(kvb_sandbox_start(brief, none, &s), KVB_OK);
    assert_int_equal(kvb_sandbox_receive(s, &byte, 1, 20), KVB_E_IO);
    assert_true(strstr(kvb_diag_message(), "it ended") != NULL);
    kvb_sandbox_close(s);
    kvb_sandbox_close(NULL);
    assert_int_equal(kvb_memory_bytes(KVB_MEM_ALL), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_but_computing),
        cmocka_unit_test(memory_and_time_are_bounded),
        cmocka_unit_test(a_child_that_is_silent_or_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
