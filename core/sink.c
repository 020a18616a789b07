/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink.c - a file that is written piece by piece and appears whole or not at all, zstd-compressed when its name ends in
 * .zst.
 *
 * kvb_file_write wants the whole content at once; a dataset of gigabytes has none. Pieces go to a temporary name in the
 * same folder, and only a successful close renames it. The compressed bytes depend on the content, the level and the
 * version of libzstd alone: one thread, no time stamp.
 */
#include "internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

struct kvb_sink {
    char *path, *temporary;
    int fd;
    ZSTD_CStream *zstd; /* NULL: plain */
    char *out;
    size_t used;
};

enum { OUT_BYTES = 1 << 17, ZSTD_LEVEL = 9 };

static kvb_status io_failed(kvb_sink *s) {
    int why = errno;
    kvb_fail(KVB_E_IO, "cannot write '%s': %s", s->path, strerror(why));
    kvb_hint(why == ENOSPC ? "-> free some space; nothing was changed"
                           : "-> check the folder and its permissions; nothing was changed");
    return KVB_E_IO;
}

static kvb_status flush(kvb_sink *s) {
    for (size_t at = 0; at < s->used;) {
        ssize_t n = write(s->fd, s->out + at, s->used - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_failed(s);
        at += (size_t)n;
    }
    s->used = 0;
    return KVB_OK;
}

/* Compresses; with `last` also ends the frame. */
static kvb_status compress(kvb_sink *s, const void *data, size_t bytes, bool last) {
    ZSTD_inBuffer in = {data, bytes, 0};
    size_t rest;
    do {
        ZSTD_outBuffer out = {s->out, OUT_BYTES, s->used};
        rest = ZSTD_compressStream2(s->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(rest))
            return kvb_fail(KVB_E_INTERNAL, "cannot compress '%s': %s", s->path, ZSTD_getErrorName(rest));
        s->used = out.pos;
        if (s->used == OUT_BYTES) KVB_TRY(flush(s));
    } while (last ? rest != 0 : in.pos < in.size);
    return KVB_OK;
}

static void discard(kvb_sink *s) {
    if (s->fd >= 0) {
        close(s->fd);
        unlink(s->temporary);
    }
    ZSTD_freeCStream(s->zstd);
    kvb_free(s->path);
    kvb_free(s->temporary);
    kvb_free(s->out);
    kvb_free(s);
}

static kvb_status open_temporary(kvb_sink *s) {
    struct stat info;
    if (stat(s->path, &info) == 0 &&
        !S_ISREG(info.st_mode)) { /* renaming would replace a device or pipe for everyone */
        kvb_fail(KVB_E_IO, "cannot write '%s': it exists and is not a file", s->path);
        kvb_hint("-> give the name of a file");
        return KVB_E_IO;
    }
    size_t room = strlen(s->path) + 32;
    s->temporary = kvb_alloc(room, KVB_MEM_OTHER);
    s->out = kvb_alloc_raw(OUT_BYTES, KVB_MEM_OTHER);
    if (!s->temporary || !s->out) return KVB_E_MEMORY;
    snprintf(s->temporary, room, "%s.tmp-%d", s->path, (int)getpid());
    size_t n = strlen(s->path);
    if (n > 4 && strcmp(s->path + n - 4, ".zst") == 0) {
        s->zstd = ZSTD_createCStream();
        if (!s->zstd) return kvb_fail(KVB_E_MEMORY, "out of memory while opening '%s'", s->path);
        ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
        ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1);
    }
    s->fd = open(s->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return s->fd < 0 ? io_failed(s) : KVB_OK;
}

kvb_status kvb_sink_open(const char *path, kvb_sink **out) {
    *out = NULL;
    if (!path) return kvb_fail(KVB_E_ARG, "sink: no file name was given");
    kvb_sink *s = kvb_alloc(sizeof *s, KVB_MEM_OTHER);
    if (!s) return KVB_E_MEMORY;
    s->fd = -1;
    s->path = kvb_strdup_n(path, strlen(path), KVB_MEM_OTHER);
    kvb_status status = s->path ? open_temporary(s) : KVB_E_MEMORY;
    if (status == KVB_OK)
        *out = s;
    else
        discard(s);
    return status;
}

kvb_status kvb_sink_write(kvb_sink *s, const void *data, int64_t bytes) {
    if (bytes < 0) return kvb_fail(KVB_E_ARG, "cannot write %lld bytes to '%s'", (long long)bytes, s->path);
    if (s->zstd) return compress(s, data, (size_t)bytes, false);
    for (const char *p = data; bytes > 0;) {
        size_t n = (size_t)kvb_min64(bytes, (int64_t)(OUT_BYTES - s->used));
        memcpy(s->out + s->used, p, n);
        s->used += n;
        p += n;
        bytes -= (int64_t)n;
        if (s->used == OUT_BYTES) KVB_TRY(flush(s));
    }
    return KVB_OK;
}

kvb_status kvb_sink_close(kvb_sink *s) {
    kvb_status status = s->zstd ? compress(s, NULL, 0, true) : KVB_OK;
    if (status == KVB_OK) status = flush(s);
    if (status == KVB_OK && fsync(s->fd) != 0 && errno != EINVAL && errno != EROFS) status = io_failed(s);
    if (status == KVB_OK && rename(s->temporary, s->path) != 0) status = io_failed(s);
    if (status == KVB_OK) {
        close(s->fd);
        s->fd = -1;
    }
    discard(s);
    return status;
}

void kvb_sink_discard(kvb_sink *s) {
    if (s) discard(s);
}
