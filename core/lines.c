/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines.c - a text file line by line, plain or zstd-compressed, in memory that does not grow with the file.
 *
 * Compression is recognised by the file's first bytes, not by its name, so that a renamed file reads the same. A line
 * longer than the caller's limit is skipped to its end and reported with its true length: one bad line must not cost
 * the good ones after it. Rejected: mapping the file (compressed data cannot be mapped, and a gigabyte of page cache is
 * counted against a batch job); zlib's gz* (another format for one feature).
 */
#include "internal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { BLOCK_BYTES = 1 << 17 };

struct kvb_lines {
    char *path;
    int fd;
    ZSTD_DStream *zstd; /* NULL: plain */
    bool frame_open;    /* inside a zstd frame: ending here means a truncated file */
    bool flushing;      /* the decoder holds output that did not fit */
    bool end;           /* no more bytes will come */
    ZSTD_inBuffer raw;  /* compressed bytes not yet decoded */
    char *raw_bytes;
    char *block; /* decoded bytes */
    size_t block_used, block_at;
    int64_t raw_read; /* bytes taken from the file */
    char *line;
    size_t line_room, max_line;
    int64_t number;
};

static kvb_status read_some(kvb_lines *l, char *out, size_t room, size_t *got) {
    ssize_t n;
    do n = read(l->fd, out, room);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        int why = errno;
        return kvb_fail(KVB_E_IO, "cannot read '%s' at byte %lld: %s", l->path, (long long)l->raw_read, strerror(why));
    }
    l->raw_read += n;
    *got = (size_t)n;
    return KVB_OK;
}

static kvb_status cut_short(kvb_lines *l) {
    kvb_fail(KVB_E_FORMAT, "'%s': the zstd data ends early, after %lld bytes of the file (line %lld)", l->path,
             (long long)l->raw_read, (long long)l->number);
    kvb_hint("-> the file was cut; the lines before it were read");
    return KVB_E_FORMAT;
}

/* Decodes until the block holds something or the file ends. Between frames the decoder is not called without input: it
 * would take that for the beginning of another frame. */
static kvb_status refill_zstd(kvb_lines *l) {
    for (;;) {
        if (l->raw.pos == l->raw.size && !l->flushing) {
            size_t got;
            KVB_TRY(read_some(l, l->raw_bytes, BLOCK_BYTES, &got));
            l->raw = (ZSTD_inBuffer){l->raw_bytes, got, 0};
            l->end = got == 0;
            if (l->end) return l->frame_open ? cut_short(l) : KVB_OK;
        }
        ZSTD_outBuffer out = {l->block, BLOCK_BYTES, 0};
        size_t rc = ZSTD_decompressStream(l->zstd, &out, &l->raw);
        if (ZSTD_isError(rc)) {
            kvb_fail(KVB_E_FORMAT, "'%s': zstd data is damaged near byte %lld of the file (after line %lld): %s",
                     l->path, (long long)(l->raw_read - (int64_t)(l->raw.size - l->raw.pos)), (long long)l->number,
                     ZSTD_getErrorName(rc));
            kvb_hint("-> the lines before it were read; make the file anew or decompress what is left by hand");
            return KVB_E_FORMAT;
        }
        l->frame_open = rc != 0;
        l->flushing = l->frame_open && out.pos == BLOCK_BYTES;
        l->block_used = out.pos;
        if (out.pos) return KVB_OK;
    }
}

static kvb_status refill(kvb_lines *l) {
    l->block_at = l->block_used = 0;
    if (l->zstd) return refill_zstd(l);
    KVB_TRY(read_some(l, l->block, BLOCK_BYTES, &l->block_used));
    l->end = l->block_used == 0;
    return KVB_OK;
}

/* The first block decides what the file is. */
static kvb_status begin(kvb_lines *l) {
    static const char magic[4] = {'\x28', '\xb5', '\x2f', '\xfd'};
    size_t got = 0, n = 1;
    while (got < sizeof magic && n) {
        KVB_TRY(read_some(l, l->block + got, BLOCK_BYTES - got, &n));
        got += n;
    }
    if (got < sizeof magic || memcmp(l->block, magic, sizeof magic) != 0) {
        l->block_used = got;
        l->end = n == 0;
        return KVB_OK;
    }
    l->raw_bytes = kvb_alloc_raw(BLOCK_BYTES, KVB_MEM_OTHER);
    if (!l->raw_bytes) return KVB_E_MEMORY;
    memcpy(l->raw_bytes, l->block, got);
    l->raw = (ZSTD_inBuffer){l->raw_bytes, got, 0};
    l->frame_open = true;
    l->zstd = ZSTD_createDStream();
    if (!l->zstd) return kvb_fail(KVB_E_MEMORY, "out of memory while opening '%s'", l->path);
    /* A hostile frame may ask for a window of gigabytes; 128 MiB is what zstd's own tool accepts. */
    ZSTD_DCtx_setParameter(l->zstd, ZSTD_d_windowLogMax, 27);
    return KVB_OK;
}

static kvb_status open_file(kvb_lines *l) {
    struct stat info;
    l->fd = open(l->path, O_RDONLY | O_CLOEXEC);
    if (l->fd < 0) {
        int why = errno;
        return kvb_fail(why == ENOENT ? KVB_E_MISSING : KVB_E_IO, "cannot read '%s': %s", l->path, strerror(why));
    }
    if (fstat(l->fd, &info) == 0 && S_ISDIR(info.st_mode))
        return kvb_fail(KVB_E_IO, "cannot read '%s': it is a folder", l->path);
    return begin(l);
}

kvb_status kvb_lines_open(const char *path, int64_t max_line, kvb_lines **out) {
    *out = NULL;
    if (!path) return kvb_fail(KVB_E_ARG, "lines: no file name was given");
    if (max_line < 1 || max_line > 1 << 30)
        return kvb_fail(KVB_E_ARG, "a longest line of %lld bytes: expected 1 to 2^30", (long long)max_line);
    kvb_lines *l = kvb_alloc(sizeof *l, KVB_MEM_OTHER);
    if (!l) return KVB_E_MEMORY;
    l->fd = -1;
    l->max_line = (size_t)max_line;
    l->path = kvb_strdup_n(path, strlen(path), KVB_MEM_OTHER);
    l->block = kvb_alloc_raw(BLOCK_BYTES, KVB_MEM_OTHER);
    kvb_status status = l->path && l->block ? open_file(l) : KVB_E_MEMORY;
    if (status == KVB_OK)
        *out = l;
    else
        kvb_lines_close(l);
    return status;
}

void kvb_lines_close(kvb_lines *l) {
    if (!l) return;
    if (l->fd >= 0) close(l->fd);
    ZSTD_freeDStream(l->zstd);
    kvb_free(l->path);
    kvb_free(l->raw_bytes);
    kvb_free(l->block);
    kvb_free(l->line);
    kvb_free(l);
}

/* Adds bytes to the line, as many as the limit allows. */
static kvb_status keep(kvb_lines *l, size_t have, const char *bytes, size_t n) {
    if (have >= l->max_line) return KVB_OK;
    n = n < l->max_line - have ? n : l->max_line - have;
    if (have + n + 1 > l->line_room) {
        size_t room = l->line_room ? l->line_room : 4096;
        while (room < have + n + 1) room *= 2;
        char *grown = kvb_realloc(l->line, room, KVB_MEM_OTHER);
        if (!grown) return KVB_E_MEMORY;
        l->line = grown;
        l->line_room = room;
    }
    memcpy(l->line + have, bytes, n);
    l->line[have + n] = 0;
    return KVB_OK;
}

kvb_status kvb_lines_next(kvb_lines *l, const char **line, int64_t *bytes) {
    size_t have = 0;
    bool any = false;
    *line = NULL;
    *bytes = 0;
    for (;;) {
        if (l->block_at == l->block_used) {
            if (l->end) break;
            KVB_TRY(refill(l));
            continue;
        }
        any = true;
        const char *from = l->block + l->block_at;
        size_t left = l->block_used - l->block_at;
        const char *stop = memchr(from, '\n', left);
        size_t n = stop ? (size_t)(stop - from) : left;
        KVB_TRY(keep(l, have, from, n));
        have += n;
        l->block_at += n + (stop != NULL);
        if (stop) break;
    }
    if (!any) return KVB_OK;
    l->number++;
    *line = l->line;
    *bytes = (int64_t)have;
    return KVB_OK;
}

int64_t kvb_lines_number(const kvb_lines *l) { return l->number; }
