/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.c - the results store: SQLite behind a dozen functions, and the lock of a run's folder.
 *
 * Every failure is one line that names the file, says what SQLite or the system said, and what to do next. Files come
 * from anywhere, so SQLite runs them defensively: no functions or virtual tables named by a schema, no writing to it.
 *
 * Why a C layer and not LuaJIT's FFI on libsqlite3: one header is what Lua sees, the status codes become diagnostics in
 * one place, and a bundle's own libsqlite3 is found by the binary's rpath. Rejected: a lock inside the database (a
 * process that is killed would leave it taken; the kernel ends a file lock with its process).
 */
#include "internal.h"
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct kvb_store {
    sqlite3 *db;
    char *path;
};

struct kvb_query {
    kvb_store *store; /* must outlive the query */
    sqlite3_stmt *statement;
    bool dirty; /* stepped since the last reset */
};

struct kvb_lock {
    int fd;
    char *path;
};

enum { BUSY_MS = 60000 };

static kvb_status status_of(int rc) {
    switch (rc & 0xff) {
    case SQLITE_OK: return KVB_OK;
    case SQLITE_NOMEM: return KVB_E_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return KVB_E_FORMAT;
    case SQLITE_INTERRUPT: return KVB_E_CANCELLED;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE: return KVB_E_ARG;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_INTERNAL: return KVB_E_INTERNAL;
    default: return KVB_E_IO;
    }
}

static void hint(int rc) {
    switch (rc & 0xff) {
    case SQLITE_FULL: kvb_hint("-> free some space and run the same command to go on; what was stored is whole"); break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: kvb_hint("-> make the folder writable, or copy the run elsewhere"); break;
    case SQLITE_CANTOPEN: kvb_hint("-> check the folder and its permissions"); break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: kvb_hint("-> another program holds it open for writing; close that one and try again"); break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        kvb_hint("-> kvbench runs verify says what is left; a copy or a new out = folder is the way out");
        break;
    default: break;
    }
}

/* Turns SQLite's last failure into the thread's diagnostic. */
static kvb_status failed(const kvb_store *s, int rc, const char *doing) {
    kvb_status code = status_of(rc);
    const char *said = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
    int os = s->db ? sqlite3_system_errno(s->db) : 0;
    bool full = (rc & 0xff) == SQLITE_FULL || os == ENOSPC || os == EDQUOT;
    if (full) {
        kvb_fail(KVB_E_IO, "cannot write to '%s': the disk is full", s->path);
        hint(SQLITE_FULL);
        return KVB_E_IO;
    }
    int kind = rc & 0xff;
    if (os && (kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN))
        kvb_fail(code, "%s '%s': %s (%s)", doing, s->path, said, strerror(os));
    else
        kvb_fail(code, "%s '%s': %s", doing, s->path, said);
    hint(rc);
    return code;
}

/* A path as a URI file name: what has a meaning there is escaped. NULL when out of memory. */
static char *uri_of(const char *path, const char *parameters) {
    size_t n = strlen(path);
    char *uri = kvb_alloc(kvb_add_size(kvb_mul_size(3, n), kvb_add_size(strlen(parameters), 6)), KVB_MEM_OTHER);
    char *p = uri;
    if (!uri) return NULL;
    p += sprintf(p, "file:");
    for (size_t i = 0; i < n; i++) {
        if (strchr("%?#", path[i])) p += sprintf(p, "%%%02X", (unsigned char)path[i]);
        else *p++ = path[i];
    }
    strcpy(p, parameters);
    return uri;
}

static int open_as(kvb_store *s, const char *parameters, int flags) {
    char *uri = uri_of(s->path, parameters);
    if (!uri) return SQLITE_NOMEM;
    int rc = sqlite3_open_v2(uri, &s->db, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    kvb_free(uri);
    if (rc != SQLITE_OK) return rc;
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* The first look at the file: what is wrong with it shows here and not at some later query. */
    return sqlite3_exec(s->db, "PRAGMA schema_version", NULL, NULL, NULL);
}

static kvb_status open_reader(kvb_store *s) {
    int rc = open_as(s, "?mode=ro", SQLITE_OPEN_READONLY);
    int kind = rc & 0xff;
    if (kind == SQLITE_CANTOPEN || kind == SQLITE_READONLY || kind == SQLITE_IOERR) {
        /* A folder that nobody may write to: nobody changes the file either, so that it can be read without a lock. */
        sqlite3_close(s->db);
        s->db = NULL;
        rc = open_as(s, "?mode=ro&immutable=1", SQLITE_OPEN_READONLY);
    }
    return rc == SQLITE_OK ? KVB_OK : failed(s, rc, "cannot read the store");
}

static kvb_status open_writer(kvb_store *s) {
    int rc = open_as(s, "?mode=rwc", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (rc == SQLITE_OK && sqlite3_db_readonly(s->db, "main") == 1) {
        kvb_fail(KVB_E_IO, "cannot write to '%s': it may only be read", s->path);
        hint(SQLITE_READONLY);
        return KVB_E_IO;
    }
    /* A page holds a few dozen answers; only a new file takes the size over. */
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, "PRAGMA page_size = 16384; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;"
                                 "PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON",
                          NULL, NULL, NULL);
    return rc == SQLITE_OK ? KVB_OK : failed(s, rc, "cannot open the store");
}

kvb_status kvb_store_open(const char *path, int32_t mode, kvb_store **out) {
    if (mode != KVB_STORE_READ && mode != KVB_STORE_WRITE)
        return kvb_fail(KVB_E_ARG, "store '%s': mode is %d, expected KVB_STORE_READ or KVB_STORE_WRITE", path, mode);
    if (mode == KVB_STORE_READ && kvb_path_kind(path) != 1)
        return kvb_fail(KVB_E_MISSING, "no store '%s'", path);
    kvb_store *s = kvb_alloc(sizeof *s, KVB_MEM_OTHER);
    if (!s) return KVB_E_MEMORY;
    s->path = kvb_strdup_n(path, strlen(path), KVB_MEM_OTHER);
    kvb_status status = !s->path ? KVB_E_MEMORY : mode == KVB_STORE_READ ? open_reader(s) : open_writer(s);
    if (status != KVB_OK) {
        kvb_store_close(s);
        return status;
    }
    sqlite3_exec(s->db, "PRAGMA mmap_size = 8589934592", NULL, NULL, NULL); /* reading without copies where it can */
    *out = s;
    return KVB_OK;
}

void kvb_store_close(kvb_store *s) {
    if (!s) return;
    sqlite3_close_v2(s->db);
    kvb_free(s->path);
    kvb_free(s);
}

kvb_status kvb_store_run(kvb_store *s, const char *sql) {
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? KVB_OK : failed(s, rc, "cannot write to");
}

kvb_status kvb_query_new(kvb_store *s, const char *sql, int64_t bytes, kvb_query **out) {
    kvb_query *q = kvb_alloc(sizeof *q, KVB_MEM_OTHER);
    if (!q) return KVB_E_MEMORY;
    q->store = s;
    const char *rest = NULL;
    int rc = sqlite3_prepare_v3(s->db, sql, (int)bytes, SQLITE_PREPARE_PERSISTENT, &q->statement, &rest);
    kvb_status status = KVB_OK;
    if (rc != SQLITE_OK) status = failed(s, rc, "cannot read");
    else if (!q->statement) status = kvb_fail(KVB_E_ARG, "store '%s': the query is empty", s->path);
    else if (rest < sql + bytes) status = kvb_fail(KVB_E_ARG, "store '%s': a ';' in a query", s->path);
    if (status != KVB_OK) {
        kvb_query_free(q);
        return status;
    }
    *out = q;
    return KVB_OK;
}

void kvb_query_free(kvb_query *q) {
    if (!q) return;
    sqlite3_finalize(q->statement);
    kvb_free(q);
}

static void settle(kvb_query *q) {
    if (q->dirty) sqlite3_reset(q->statement);
    q->dirty = false;
}

static kvb_status bound(kvb_query *q, int rc) {
    return rc == SQLITE_OK ? KVB_OK : failed(q->store, rc, "cannot bind a value for");
}

kvb_status kvb_query_bind_null(kvb_query *q, int32_t i) {
    settle(q);
    return bound(q, sqlite3_bind_null(q->statement, i));
}

kvb_status kvb_query_bind_number(kvb_query *q, int32_t i, double value) {
    settle(q);
    /* Whole numbers take one to eight bytes as integers, and always eight as doubles. */
    if (value >= -9007199254740992.0 && value <= 9007199254740992.0 && value == (double)(int64_t)value)
        return bound(q, sqlite3_bind_int64(q->statement, i, (int64_t)value));
    return bound(q, sqlite3_bind_double(q->statement, i, value));
}

kvb_status kvb_query_bind_text(kvb_query *q, int32_t i, const char *text, int64_t bytes) {
    settle(q);
    return bound(q, sqlite3_bind_text64(q->statement, i, text, (sqlite3_uint64)bytes, SQLITE_TRANSIENT, SQLITE_UTF8));
}

kvb_status kvb_query_bind_blob(kvb_query *q, int32_t i, const void *data, int64_t bytes) {
    settle(q);
    return bound(q, sqlite3_bind_blob64(q->statement, i, data, (sqlite3_uint64)bytes, SQLITE_TRANSIENT));
}

kvb_status kvb_query_step(kvb_query *q, int32_t *row) {
    q->dirty = true;
    int rc = sqlite3_step(q->statement);
    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW) return KVB_OK;
    q->dirty = false;
    if (rc == SQLITE_DONE) {
        sqlite3_reset(q->statement);
        return KVB_OK;
    }
    kvb_status status = failed(q->store, rc, sqlite3_stmt_readonly(q->statement) ? "cannot read" : "cannot write to");
    sqlite3_reset(q->statement);
    return status;
}

void kvb_query_reset(kvb_query *q) { settle(q); }

int32_t kvb_query_columns(const kvb_query *q) { return sqlite3_column_count(q->statement); }

const char *kvb_query_name(const kvb_query *q, int32_t i) {
    const char *name = sqlite3_column_name(q->statement, i);
    return name ? name : "";
}

int32_t kvb_query_kind(const kvb_query *q, int32_t i) {
    switch (sqlite3_column_type(q->statement, i)) {
    case SQLITE_INTEGER:
    case SQLITE_FLOAT: return KVB_VALUE_NUMBER;
    case SQLITE_TEXT: return KVB_VALUE_TEXT;
    case SQLITE_BLOB: return KVB_VALUE_BLOB;
    default: return KVB_VALUE_NULL;
    }
}

double kvb_query_number(const kvb_query *q, int32_t i) { return sqlite3_column_double(q->statement, i); }

const void *kvb_query_bytes(const kvb_query *q, int32_t i, int64_t *bytes) {
    /* The pointer first: asking for the size of a number would convert it. */
    const void *data = sqlite3_column_type(q->statement, i) == SQLITE_BLOB
                           ? sqlite3_column_blob(q->statement, i)
                           : (const void *)sqlite3_column_text(q->statement, i);
    *bytes = sqlite3_column_bytes(q->statement, i);
    return data ? data : "";
}

/* ---- the lock of a folder ---- */

/* The file that is locked must be the one that is there now: whoever held it before may have removed it. */
static bool same_file(int fd, const char *path) {
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

static kvb_status lock_failed(const char *path) {
    kvb_fail(KVB_E_IO, "cannot lock '%s': %s", path, strerror(errno));
    kvb_hint(errno == ENOSPC ? "-> free some space" : "-> choose a folder you may write to");
    return KVB_E_IO;
}

/* Writes this process's id into the file: for whoever has to wait. Nothing depends on it. */
static void sign(int fd) {
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) return;
}

kvb_status kvb_lock_take(const char *path, kvb_lock **out, int64_t *holder) {
    *out = NULL;
    *holder = 0;
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0) return lock_failed(path);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK && errno != EINTR) {
                kvb_status status = lock_failed(path);
                close(fd);
                return status;
            }
            char text[32] = {0};
            *holder = pread(fd, text, sizeof text - 1, 0) > 0 ? strtoll(text, NULL, 10) : 0;
            if (*holder <= 0) *holder = -1;
            close(fd);
            return KVB_OK;
        }
        if (!same_file(fd, path)) {
            close(fd);
            continue;
        }
        kvb_lock *lock = kvb_alloc(sizeof *lock, KVB_MEM_OTHER);
        char *copy = lock ? kvb_strdup_n(path, strlen(path), KVB_MEM_OTHER) : NULL;
        if (!copy) {
            kvb_free(lock);
            close(fd);
            return KVB_E_MEMORY;
        }
        sign(fd);
        lock->fd = fd;
        lock->path = copy;
        *out = lock;
        return KVB_OK;
    }
}

void kvb_lock_release(kvb_lock *lock) {
    if (!lock) return;
    if (same_file(lock->fd, lock->path)) unlink(lock->path);
    close(lock->fd);
    kvb_free(lock->path);
    kvb_free(lock);
}
