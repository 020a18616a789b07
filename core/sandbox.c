/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.c - a child process that may compute and answer, and nothing else: for running someone else's press.
 *
 * The child has one socket, to its parent, and of the environment what it is given. Before it sees a byte of foreign
 * code it gives up, for good: opening files, sockets, processes and threads (seccomp: an allow-list of system calls,
 * the rest fail with EPERM), executable memory, more than a bound of memory and of CPU time. The parent bounds the wall
 * time of every answer and kills. Rejected: namespaces (need privileges or a kernel setting that many clusters switch
 * off); a Lua environment alone (one bug in an interpreter and everything is open); libseccomp (forty rules need no
 * library).
 */
#include "internal.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct kvb_sandbox {
    pid_t pid;
    int fd;
};

/* ---- the child gives up what it will not need -------------------------------------------------------------------- */

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif

/* Computing, memory, clocks, the socket that is already open, ending. */
static const int allowed[] = {
    SYS_read, SYS_write, SYS_close, SYS_futex, SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_exit, SYS_exit_group,
    SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_clock_gettime, SYS_gettimeofday, SYS_sched_yield, SYS_sched_getaffinity,
    SYS_getpid, SYS_gettid, SYS_restart_syscall, SYS_nanosleep, SYS_clock_nanosleep,
};

static kvb_status filter_calls(void) {
#ifdef OUR_ARCH
    enum { N = sizeof allowed / sizeof *allowed, MOST = N + 16 };
    struct sock_filter code[MOST];
    unsigned short n = 0;
    const unsigned nr = offsetof(struct seccomp_data, nr), third = offsetof(struct seccomp_data, args) + 2 * 8;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, nr);
    /* mapping and protecting: only without PROT_EXEC */
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 4);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, third);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    for (int i = 0; i < N; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i],
                                                 (unsigned char)(N - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = n, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
        return KVB_OK;
    kvb_fail(KVB_E_UNSUPPORTED, "sandbox: this kernel takes no seccomp filter: %s", strerror(errno));
#else
    kvb_fail(KVB_E_UNSUPPORTED, "sandbox: there is no list of system calls for this kind of CPU");
#endif
    kvb_hint("-> run foreign code in a virtual machine instead");
    return KVB_E_UNSUPPORTED;
}

static bool limit(int what, int64_t value) {
    struct rlimit r = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value};
    return setrlimit((__rlimit_resource_t)what, &r) == 0;
}

kvb_status kvb_sandbox_lock(int64_t bytes, int32_t cpu_seconds) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    bool ok = limit(RLIMIT_CPU, cpu_seconds) && limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_CORE, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they reserve terabytes of addresses */
    ok = ok && limit(RLIMIT_AS, bytes);
#else
    (void)bytes;
#endif
    for (int fd = 2; fd < 4096; fd++) close(fd);
    ok = ok && limit(RLIMIT_NOFILE, 0);
    if (!ok) return kvb_fail(KVB_E_UNSUPPORTED, "sandbox: a limit could not be set: %s", strerror(errno));
    return filter_calls();
}

/* The child's end: the socket is its standard input. */
kvb_status kvb_sandbox_read(void *to, int64_t bytes) {
    for (char *p = to; bytes > 0;) {
        ssize_t n = read(0, p, (size_t)bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return kvb_fail(KVB_E_IO, "sandbox: the parent is gone");
        p += n;
        bytes -= n;
    }
    return KVB_OK;
}

kvb_status kvb_sandbox_write(const void *from, int64_t bytes) {
    for (const char *p = from; bytes > 0;) {
        ssize_t n = write(0, p, (size_t)bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return kvb_fail(KVB_E_IO, "sandbox: the parent is gone");
        p += n;
        bytes -= n;
    }
    return KVB_OK;
}

/* ---- the parent -------------------------------------------------------------------------------------------------- */

kvb_status kvb_sandbox_start(const char *const *argv, const char *const *environment, kvb_sandbox **out) {
    int pair[2];
    kvb_sandbox *s = kvb_alloc(sizeof *s, KVB_MEM_OTHER);
    if (!s) return KVB_E_MEMORY;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        kvb_free(s);
        return kvb_fail(KVB_E_IO, "sandbox: no socket: %s", strerror(errno));
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawn(&s->pid, argv[0], &actions, NULL, (char *const *)argv, (char *const *)environment);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    if (failed) {
        close(pair[0]);
        kvb_free(s);
        return kvb_fail(KVB_E_IO, "sandbox: cannot start '%s': %s", argv[0], strerror(failed));
    }
    s->fd = pair[0];
    *out = s;
    return KVB_OK;
}

void kvb_sandbox_close(kvb_sandbox *s) {
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {}
    kvb_free(s);
}

/* Waits until the socket can be read or written: at most until `until`. */
static kvb_status ready(const kvb_sandbox *s, short what, double until, double seconds) {
    for (;;) {
        struct pollfd p = {.fd = s->fd, .events = what};
        double left = until - kvb_time();
        if (kvb_cancelled()) return kvb_fail(KVB_E_CANCELLED, "interrupted");
        if (left <= 0) {
            kvb_fail(KVB_E_IO, "no answer within %g seconds", seconds);
            kvb_hint("-> it loops for ever, or needs less data at once");
            return KVB_E_IO;
        }
        int n = poll(&p, 1, left < .2 ? (int)(left * 1000) + 1 : 200);
        if (n > 0) return KVB_OK;
        if (n < 0 && errno != EINTR) return kvb_fail(KVB_E_IO, "sandbox: %s", strerror(errno));
    }
}

static kvb_status gone(void) {
    kvb_fail(KVB_E_IO, "it ended: out of memory, out of CPU time, or it crashed");
    kvb_hint("-> the rule needs more than the sandbox gives, or is hostile");
    return KVB_E_IO;
}

kvb_status kvb_sandbox_send(kvb_sandbox *s, const void *data, int64_t bytes, double seconds) {
    double until = kvb_time() + seconds;
    for (const char *p = data; bytes > 0;) {
        KVB_TRY(ready(s, POLLOUT, until, seconds));
        ssize_t n = send(s->fd, p, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return gone();
        p += n;
        bytes -= n;
    }
    return KVB_OK;
}

kvb_status kvb_sandbox_receive(kvb_sandbox *s, void *data, int64_t bytes, double seconds) {
    double until = kvb_time() + seconds;
    for (char *p = data; bytes > 0;) {
        KVB_TRY(ready(s, POLLIN, until, seconds));
        ssize_t n = recv(s->fd, p, (size_t)bytes, MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return gone();
        p += n;
        bytes -= n;
    }
    return KVB_OK;
}
