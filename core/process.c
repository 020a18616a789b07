/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - child processes: one engine per GPU lives in a process of its own.
 *
 * A device that fails takes its process along and nothing else, and two engines never share a lock. Rejected: threads
 * (one sticky CUDA error would end them all).
 */
#include "internal.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* `extra` (NAME=VALUE), then what this process's environment has beside it. */
static char **environment(const char *const *extra) {
    size_t n = 0, m = 0;
    while (extra[m]) m++;
    while (environ[n]) n++;
    char **all = kvb_alloc_array(kvb_add_size(kvb_add_size(n, m), 1), sizeof *all, KVB_MEM_OTHER);
    if (!all) return NULL;
    for (size_t i = 0; i < m; i++) all[i] = (char *)extra[i];
    size_t at = m;
    for (size_t i = 0; i < n; i++) {
        bool replaced = false;
        for (size_t j = 0; j < m && !replaced; j++) {
            size_t name = strcspn(extra[j], "=");
            replaced = strncmp(environ[i], extra[j], name + 1) == 0;
        }
        if (!replaced) all[at++] = environ[i];
    }
    return all;
}

kvb_status kvb_process_start(const char *const *argv, const char *const *extra, const char *log, int64_t *pid) {
    char **all = environment(extra);
    if (!all) return KVB_E_MEMORY;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t child = 0;
    int failed = posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)argv, all);
    posix_spawn_file_actions_destroy(&actions);
    kvb_free(all);
    if (failed) return kvb_fail(KVB_E_IO, "cannot start '%s' (output to '%s'): %s", argv[0], log, strerror(failed));
    *pid = child;
    return KVB_OK;
}

int32_t kvb_process_state(int64_t pid) {
    int status;
    pid_t got = waitpid((pid_t)pid, &status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR)) return -1;
    if (got < 0) return 127; /* not a child of ours, or waited for before */
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void kvb_process_stop(int64_t pid) {
    if (pid > 0) kill((pid_t)pid, SIGTERM);
}

int64_t kvb_process_id(void) { return getpid(); }

void kvb_sleep(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (seconds > 0) nanosleep(&t, NULL);
}
