/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - one verb, POST, for endpoints that speak OpenAI's JSON. libcurl does the work and is opened when it is first
 * needed, not linked.
 *
 * Why not linked: its dependencies are thirty libraries (TLS, Kerberos, LDAP, HTTP/2), which the bundle would have to
 * carry for one optional feature, with certificates that age; every Debian or Ubuntu that has git or curl has it. The
 * numbers below are libcurl's public ABI, frozen since 7.16. Rejected: a socket of our own (no TLS), calling curl(1)
 * (the key would stand in the process list).
 *
 * The key is read from the environment here and goes from there into the request; it never enters Lua, a message or a
 * file. Redirects are not followed: another host must not get it.
 */
#include "internal.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct CURL CURL;
typedef struct curl_slist curl_slist;

enum {
    OPT_WRITEDATA = 10001,
    OPT_URL = 10002,
    OPT_POSTFIELDS = 10015,
    OPT_USERAGENT = 10018,
    OPT_HTTPHEADER = 10023,
    OPT_NOPROGRESS = 43,
    OPT_POST = 47,
    OPT_XFERINFODATA = 10057,
    OPT_FOLLOWLOCATION = 52,
    OPT_NOSIGNAL = 99,
    OPT_TIMEOUT_MS = 155,
    OPT_CONNECTTIMEOUT_MS = 156,
    OPT_PROTOCOLS = 181,
    OPT_WRITEFUNCTION = 20011,
    OPT_XFERINFOFUNCTION = 20219,
    OPT_POSTFIELDSIZE_LARGE = 30120,
    INFO_RESPONSE_CODE = 0x200002,
    INFO_RETRY_AFTER = 0x600039,
    PROTOCOLS_HTTP_HTTPS = 3,
    CODE_OK = 0,
    CODE_COULDNT_RESOLVE = 6,
    CODE_COULDNT_CONNECT = 7,
    CODE_WRITE_ERROR = 23,
    CODE_TIMEOUT = 28,
    CODE_ABORTED = 42
};

static struct {
    bool tried;
    void *library;
    CURL *(*easy_init)(void);
    int (*easy_setopt)(CURL *, int, ...);
    int (*easy_perform)(CURL *);
    int (*easy_getinfo)(CURL *, int, ...);
    void (*easy_cleanup)(CURL *);
    const char *(*easy_strerror)(int);
    curl_slist *(*slist_append)(curl_slist *, const char *);
    void (*slist_free_all)(curl_slist *);
    int (*global_init)(long);
} curl;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool symbol(const char *name, void *into) {
    void *found = dlsym(curl.library, name);
    memcpy(into, &found, sizeof found); /* ISO C has no cast from an object to a function pointer */
    return found != NULL;
}

static void open_library(void) {
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
    const char *chosen = getenv("KVB_LIBCURL");
    if (chosen) curl.library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    for (int i = 0; !chosen && !curl.library && i < 2; i++) curl.library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!curl.library) return;
    bool all = symbol("curl_easy_init", &curl.easy_init) && symbol("curl_easy_setopt", &curl.easy_setopt) &&
               symbol("curl_easy_perform", &curl.easy_perform) && symbol("curl_easy_getinfo", &curl.easy_getinfo) &&
               symbol("curl_easy_cleanup", &curl.easy_cleanup) && symbol("curl_easy_strerror", &curl.easy_strerror) &&
               symbol("curl_slist_append", &curl.slist_append) && symbol("curl_slist_free_all", &curl.slist_free_all) &&
               symbol("curl_global_init", &curl.global_init);
    if (!all || curl.global_init(3) != CODE_OK) curl.library = NULL; /* 3: sockets and TLS */
}

int32_t kvb_http_available(void) {
    pthread_once(&once, open_library);
    return curl.library != NULL;
}

typedef struct reply {
    char *bytes;
    size_t used, room, most;
    bool too_long, no_memory;
} reply;

static size_t on_bytes(const char *data, size_t size, size_t n, void *to) {
    reply *r = to;
    n *= size;
    if (n > r->most - r->used) {
        r->too_long = true;
        return 0;
    }
    if (r->used + n + 1 > r->room) {
        size_t room = r->room ? r->room : 8192;
        while (room < r->used + n + 1) room *= 2;
        char *grown = kvb_realloc(r->bytes, room, KVB_MEM_OTHER);
        if (!grown) {
            r->no_memory = true;
            return 0;
        }
        r->bytes = grown;
        r->room = room;
    }
    memcpy(r->bytes + r->used, data, n);
    r->used += n;
    r->bytes[r->used] = 0;
    return n;
}

static int on_progress(void *unused, int64_t a, int64_t b, int64_t c, int64_t d) {
    (void)unused, (void)a, (void)b, (void)c, (void)d;
    return kvb_cancelled();
}

/* What goes wrong in words; the URL is shown up to its query, which may hold secrets of its own. */
static kvb_status failed(int code, const char *url, double seconds, const reply *r) {
    int shown = (int)strcspn(url, "?#");
    if (kvb_cancelled()) return kvb_fail(KVB_E_CANCELLED, "cancelled while waiting for '%.*s'", shown, url);
    if (r->no_memory) return KVB_E_MEMORY;
    if (r->too_long) return kvb_fail(KVB_E_FORMAT, "'%.*s' answers with more than %zu bytes", shown, url, r->most);
    if (code == CODE_TIMEOUT) {
        kvb_fail(KVB_E_IO, "'%.*s' did not answer within %.3g s", shown, url, seconds);
        kvb_hint("-> give it more time (--timeout), or look whether it hangs");
        return KVB_E_IO;
    }
    kvb_fail(KVB_E_IO, "cannot reach '%.*s': %s", shown, url, curl.easy_strerror(code));
    if (code == CODE_COULDNT_RESOLVE || code == CODE_COULDNT_CONNECT)
        kvb_hint("-> is the address right, and does the server run?");
    return KVB_E_IO;
}

/* Content type and, from the environment, the key. NULL on failure, with the diagnostic set. */
static curl_slist *headers_for(const char *key_variable) {
    curl_slist *list = curl.slist_append(NULL, "Content-Type: application/json");
    const char *key = key_variable ? getenv(key_variable) : NULL;
    if (list && key && *key) {
        size_t n = strlen(key) + 32;
        char *line = strpbrk(key, "\r\n") ? NULL : kvb_alloc(n, KVB_MEM_OTHER);
        if (!line) {
            curl.slist_free_all(list);
            if (strpbrk(key, "\r\n")) kvb_fail(KVB_E_ARG, "the key in $%s holds a line break", key_variable);
            return NULL;
        }
        snprintf(line, n, "Authorization: Bearer %s", key);
        curl_slist *longer = curl.slist_append(list, line);
        explicit_bzero(line, n);
        kvb_free(line);
        if (!longer) curl.slist_free_all(list);
        list = longer;
    }
    if (!list) kvb_fail(KVB_E_MEMORY, "out of memory while preparing a request");
    return list;
}

static kvb_status perform(CURL *easy, const char *url, curl_slist *headers, const void *body, int64_t bytes,
                          double seconds, reply *r, int32_t *status, double *retry_after) {
    long limit = (long)(seconds * 1000 + 0.5), connect_limit = limit < 10000 ? limit : 10000;
    curl.easy_setopt(easy, OPT_URL, url);
    curl.easy_setopt(easy, OPT_PROTOCOLS, (long)PROTOCOLS_HTTP_HTTPS);
    curl.easy_setopt(easy, OPT_FOLLOWLOCATION, 0L);
    curl.easy_setopt(easy, OPT_NOSIGNAL, 1L);
    curl.easy_setopt(easy, OPT_USERAGENT, "kvbench");
    curl.easy_setopt(easy, OPT_HTTPHEADER, headers);
    curl.easy_setopt(easy, OPT_POST, 1L);
    curl.easy_setopt(easy, OPT_POSTFIELDSIZE_LARGE, bytes);
    curl.easy_setopt(easy, OPT_POSTFIELDS, body);
    curl.easy_setopt(easy, OPT_CONNECTTIMEOUT_MS, connect_limit);
    curl.easy_setopt(easy, OPT_TIMEOUT_MS, limit);
    curl.easy_setopt(easy, OPT_WRITEFUNCTION, on_bytes);
    curl.easy_setopt(easy, OPT_WRITEDATA, r);
    curl.easy_setopt(easy, OPT_NOPROGRESS, 0L);
    curl.easy_setopt(easy, OPT_XFERINFOFUNCTION, on_progress);
    int code = curl.easy_perform(easy);
    if (code != CODE_OK) return failed(code, url, seconds, r);
    long http = 0;
    int64_t wait = 0;
    curl.easy_getinfo(easy, INFO_RESPONSE_CODE, &http);
    if (curl.easy_getinfo(easy, INFO_RETRY_AFTER, &wait) != CODE_OK) wait = 0; /* older than 7.66 */
    *status = (int32_t)http;
    *retry_after = (double)wait;
    return KVB_OK;
}

/* A server that repeats our headers must not get the key into a log. */
static void hide_key(reply *r, const char *key_variable) {
    const char *key = key_variable ? getenv(key_variable) : NULL;
    size_t n = key ? strlen(key) : 0;
    if (n < 4 || !r->bytes) return;
    for (char *p = r->bytes; (p = memmem(p, r->used - (size_t)(p - r->bytes), key, n)); p += n) memset(p, '*', n);
}

kvb_status kvb_http_post(const char *url, const char *key_variable, const void *body, int64_t bytes, double seconds,
                         int64_t most, int32_t *status, double *retry_after, const char **text, int64_t *text_bytes) {
    static _Thread_local char *last;
    kvb_free(last);
    last = NULL;
    *status = 0, *retry_after = 0, *text = "", *text_bytes = 0;
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return kvb_fail(KVB_E_ARG, "'%.80s' is no address: it begins with neither http:// nor https://", url);
    if (bytes < 0 || !(seconds > 0 && seconds <= 86400) || most < 1)
        return kvb_fail(KVB_E_ARG, "a request of %lld bytes, %g s and at most %lld bytes of answer", (long long)bytes,
                        seconds, (long long)most);
    if (!kvb_http_available()) {
        kvb_fail(KVB_E_UNSUPPORTED, "cannot reach '%.80s': libcurl (libcurl.so.4) is not on this machine", url);
        kvb_hint("-> install it (Debian, Ubuntu: apt-get install curl), or generate with a loaded model");
        return KVB_E_UNSUPPORTED;
    }
    curl_slist *headers = headers_for(key_variable);
    if (!headers) return kvb_diag_code();
    CURL *easy = curl.easy_init();
    reply r = {.most = (size_t)most};
    kvb_status result = easy ? perform(easy, url, headers, body, bytes, seconds, &r, status, retry_after)
                             : kvb_fail(KVB_E_MEMORY, "out of memory while preparing a request");
    if (easy) curl.easy_cleanup(easy);
    curl.slist_free_all(headers);
    if (result != KVB_OK) {
        kvb_free(r.bytes);
        return result;
    }
    hide_key(&r, key_variable);
    last = r.bytes;
    if (last) *text = last, *text_bytes = (int64_t)r.used;
    return KVB_OK;
}
