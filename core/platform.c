/* SPDX-License-Identifier: Apache-2.0 */
/*
 * platform.c - what the library asks of Linux: threads it may use, the CPU it runs on, the clock, cancelling, files.
 *
 * Threads never exceed the affinity mask: on a shared box two spinning OpenMP threads on one core turned a pass of 16
 * ms into 1.2 s. Rejected: a signal handler that longjmps out of a step (leaves half-written caches behind); a flag is
 * polled.
 */
#include "internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef KVB_VERSION
#define KVB_VERSION "0.1.0"
#endif
#ifndef KVB_GIT_REVISION
#define KVB_GIT_REVISION "unknown"
#endif

int32_t kvb_abi_version(void) { return KVB_ABI_VERSION; }
const char *kvb_version(void) { return KVB_VERSION; }
const char *kvb_git_revision(void) { return KVB_GIT_REVISION; }

int64_t kvb_sizeof(const char *name) {
    static const struct {
        const char *name;
        size_t bytes;
    } sizes[] = {
        {"kvb_tensor", sizeof(kvb_tensor)},         {"kvb_weight_info", sizeof(kvb_weight_info)},
        {"kvb_model_desc", sizeof(kvb_model_desc)}, {"kvb_request", sizeof(kvb_request)},
        {"kvb_result", sizeof(kvb_result)},         {"kvb_paused", sizeof(kvb_paused)},
        {"kvb_patch", sizeof(kvb_patch)},           {"kvb_watch", sizeof(kvb_watch)},
        {"kvb_fuse_step", sizeof(kvb_fuse_step)},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (strcmp(sizes[i].name, name) == 0) return (int64_t)sizes[i].bytes;
    return -1;
}

static int32_t allowed_threads(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

static int32_t threads;

/* Waits until it may end: all of them stand beside each other, as OpenMP's will. */
static void *stand(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* How many of `n` threads beside this one can be had. OpenMP ends the process when it cannot have one, so it is only
 * asked for what was seen to be possible. */
static int32_t possible_threads(int32_t n, int *problem) {
    enum { MOST = 1024 };
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t started[MOST];
    int32_t made = 0;
    *problem = 0;
    pthread_mutex_lock(&gate);
    for (; made < n && made < MOST && !*problem; made += !*problem)
        *problem = pthread_create(started + made, NULL, stand, &gate);
    pthread_mutex_unlock(&gate);
    for (int32_t i = 0; i < made; i++) pthread_join(started[i], NULL);
    return made;
}

kvb_status kvb_threads_set(int32_t n) {
    int32_t allowed = allowed_threads();
    if (n < 0 || n > allowed) {
        kvb_fail(KVB_E_ARG, "--threads %d: this process may run on %d CPU%s", n, allowed, allowed == 1 ? "" : "s");
        kvb_hint("-> use a number from 1 to %d, or 0 for all of them", allowed);
        return KVB_E_ARG;
    }
    int problem;
    int32_t wanted = n ? n : allowed, made = possible_threads(wanted - 1, &problem) + 1;
    threads = problem ? made : wanted;
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    if (problem == 0) return KVB_OK;
    kvb_fail(KVB_E_IO, "%d threads cannot be started, only %d: %s", wanted, made, strerror(problem));
    kvb_hint("-> use --threads %d, or raise the limit on processes (ulimit -u)", made);
    return KVB_E_IO;
}

int32_t kvb_threads(void) {
    if (!threads) kvb_threads_set(0);
    return threads;
}

/* AMX tiles need a permission per process (Linux 5.16); without it the first tile instruction is a SIGILL. */
static bool amx_permitted(void) {
#if defined(__x86_64__)
    enum { ARCH_REQ_XCOMP_PERM_ = 0x1023, XFEATURE_XTILEDATA_ = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM_, XFEATURE_XTILEDATA_) == 0;
#else
    return false;
#endif
}

static bool has_amx_bf16(void) {
#if defined(__x86_64__)
    unsigned a = 7, b = 0, c = 0, d = 0;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (d >> 22 & 1) && (d >> 24 & 1);
#else
    return false;
#endif
}

/* KVB_CPU_TIER lowers the tier (never raises it), so that every code path can be tested on one machine. */
const char *kvb_cpu_tier(void) {
    static const char *const tiers[] = {"scalar", "avx2", "avx512", "amx-bf16"};
    static int tier = -1;
    if (tier >= 0) return tiers[tier];
    int found = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found = 1;
    if (found == 1 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        found = 2;
    if (found == 2 && __builtin_cpu_supports("avx512bf16") && has_amx_bf16() && amx_permitted()) found = 3;
#endif
    const char *wanted = getenv("KVB_CPU_TIER");
    if (wanted)
        for (int i = 0; i < found; i++)
            if (strcmp(wanted, tiers[i]) == 0) found = i;
    tier = found;
    return tiers[tier];
}

const char *kvb_cpu_name(void) {
    static char name[128];
    if (name[0]) return name;
    snprintf(name, sizeof name, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            colon[strcspn(colon, "\n")] = 0;
            snprintf(name, sizeof name, "%.120s", colon + 2);
            break;
        }
    }
    if (f) fclose(f);
    return name;
}

static volatile sig_atomic_t cancelled;
void kvb_cancel(void) { cancelled = 1; }
void kvb_cancel_reset(void) { cancelled = 0; }
int32_t kvb_cancelled(void) { return cancelled; }

double kvb_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int32_t kvb_terminal_width(int32_t fd) {
    struct winsize size;
    if (!isatty(fd)) return 0;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

int64_t kvb_process_peak_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

static kvb_status write_failed(const char *path, const char *temporary) {
    kvb_status status = kvb_fail(KVB_E_IO, "cannot write '%s': %s", path, strerror(errno));
    if (errno == ENOSPC)
        kvb_hint("-> free some space; nothing was changed");
    else
        kvb_hint("-> check the folder and its permissions; nothing was changed");
    if (temporary) unlink(temporary);
    return status;
}

kvb_status kvb_file_write(const char *path, const void *data, int64_t bytes) {
    char temporary[4096];
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* renaming would replace a device or pipe for everyone */
        kvb_fail(KVB_E_IO, "cannot write '%s': it exists and is not a file but a %s", path,
                 S_ISDIR(info.st_mode) ? "folder" : "device or pipe");
        kvb_hint("-> give the name of a file");
        return KVB_E_IO;
    }
    if (snprintf(temporary, sizeof temporary, "%s.tmp-%d", path, (int)getpid()) >= (int)sizeof temporary)
        return kvb_fail(KVB_E_ARG, "path of %zu bytes is too long: '%.60s...'", strlen(path), path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return write_failed(path, NULL);
    const char *p = data;
    for (int64_t left = bytes; left > 0;) {
        ssize_t n = write(fd, p, (size_t)left);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            kvb_status status = write_failed(path, temporary);
            close(fd);
            return status;
        }
        p += n;
        left -= n;
    }
    if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS) {
        kvb_status status = write_failed(path, temporary);
        close(fd);
        return status;
    }
    if (close(fd) != 0 || rename(temporary, path) != 0) return write_failed(path, temporary);
    return KVB_OK;
}

kvb_status kvb_dir_make(const char *path) {
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) return kvb_fail(KVB_E_ARG, "cannot make a folder from a path of %zu bytes", n);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST) {
            kvb_fail(KVB_E_IO, "cannot make the folder '%s': %s", part, strerror(errno));
            kvb_hint("-> choose a folder you may write to");
            return KVB_E_IO;
        }
    }
    if (kvb_path_kind(path) != 2) return kvb_fail(KVB_E_IO, "'%s' exists and is not a folder", path);
    return KVB_OK;
}

int32_t kvb_path_link(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
}

int32_t kvb_path_same(const char *a, const char *b) {
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

int32_t kvb_path_kind(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) return 0;
    return S_ISDIR(info.st_mode) ? 2 : 1;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Reads a folder into an array of names; folders get a trailing '/'. On failure what was read so far is given too. */
static kvb_status read_names(DIR *dir, char ***names_out, size_t *n_out) {
    size_t n = 0, room = 0;
    char **names = NULL;
    kvb_status status = KVB_OK;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (strchr(entry->d_name, '\n')) continue;
        if (n == room) {
            char **grown = kvb_realloc(names, kvb_mul_size(room = room ? room * 2 : 64, sizeof *names), KVB_MEM_OTHER);
            if (!grown) {
                status = KVB_E_MEMORY;
                break;
            }
            names = grown;
        }
        struct stat info;
        bool folder = fstatat(dirfd(dir), entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
        size_t length = strlen(entry->d_name);
        names[n] = kvb_alloc(kvb_add_size(length, 2), KVB_MEM_OTHER);
        if (!names[n]) {
            status = KVB_E_MEMORY;
            break;
        }
        memcpy(names[n], entry->d_name, length);
        if (folder) names[n][length] = '/';
        n++;
    }
    *names_out = names;
    *n_out = n;
    return status;
}

kvb_status kvb_dir_list(const char *path, const char **names_out) {
    static _Thread_local char *list;
    DIR *dir = opendir(path);
    if (!dir) return kvb_fail(KVB_E_IO, "cannot read the folder '%s': %s", path, strerror(errno));
    char **names;
    size_t n, bytes = 1;
    kvb_status status = read_names(dir, &names, &n);
    closedir(dir);
    if (n) qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) bytes += strlen(names[i]) + 1;
    char *text = status == KVB_OK ? malloc(bytes) : NULL, *p = text;
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(names[i]);
        if (text) {
            memcpy(p, names[i], length);
            p += length;
            *p++ = '\n';
        }
        kvb_free(names[i]);
    }
    kvb_free(names);
    if (!text) return kvb_fail(KVB_E_MEMORY, "out of memory while listing '%s'", path);
    *p = 0;
    free(list);
    list = text;
    *names_out = list;
    return KVB_OK;
}

/* Multiply-mix over 8-byte words (the mixing constants are those of splitmix64). */
uint64_t kvb_hash64(const void *data, int64_t bytes, uint64_t seed) {
    const unsigned char *p = data;
    uint64_t h = seed ^ 0x9e3779b97f4a7c15ull ^ (uint64_t)bytes * 0xbf58476d1ce4e5b9ull;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xbf58476d1ce4e5b9ull;
        h ^= h >> 29;
    }
    uint64_t tail = 0;
    if (bytes) memcpy(&tail, p, (size_t)bytes);
    h = (h ^ tail) * 0x94d049bb133111ebull;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15ull;
    return h ^ h >> 29;
}
