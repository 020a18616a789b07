/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line.c - line editing and history for the REPL over libedit, as a small Lua module.
 *
 * Completion is pulled, not called back: the Tab key ends the read and hands the text so far to Lua, which works out
 * the completion and reads again with the longer text already typed. So no Lua runs inside libedit, and an error in
 * completion cannot leave the terminal in raw mode. Rejected: GNU readline (GPL).
 */
#include "line.h"
#include "kvbench.h"
#include <errno.h>
#include <histedit.h>
#include <lauxlib.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

static struct {
    EditLine *edit;
    History *history;
    char path[4096]; /* empty: history lives for this run only */
    char prompt[64];
    int tab;
} line;

enum { HISTORY_ENTRIES = 2000 };

static char *prompt_of(EditLine *edit) {
    (void)edit;
    return line.prompt;
}

/* Text behind the cursor would be out of the completer's sight: Tab there only moves to the end. */
static unsigned char on_tab(EditLine *edit, int key) {
    (void)key;
    const LineInfo *info = el_line(edit);
    if (info->cursor != info->lastchar) {
        el_cursor(edit, (int)(info->lastchar - info->cursor));
        return CC_CURSOR;
    }
    line.tab = 1;
    return CC_NEWLINE;
}

/* libedit's reader of one character. SIGINT is let in only while this waits: one that came between a look at the flag
 * and a plain read() would be noticed at the next key. */
static int read_char(EditLine *edit, wchar_t *out) {
    (void)edit;
    sigset_t interrupt, before;
    mbstate_t state = {0};
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int ready = 0;
    while (ready <= 0 && !kvb_cancelled()) {
        ready = ppoll(&input, 1, NULL, &before);
        if (ready < 0 && errno != EINTR) break;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (ready <= 0) {
        errno = EINTR;
        return -1;
    }
    for (;;) { /* the bytes of one character come together */
        char byte;
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n <= 0) return (int)n;
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used <= 1) return 1;
        if (used == (size_t)-1) memset(&state, 0, sizeof state); /* no character: left out */
    }
}

static int line_close(lua_State *L) {
    (void)L;
    if (line.history) history_end(line.history);
    if (line.edit) el_end(line.edit);
    line.history = NULL;
    line.edit = NULL;
    return 0;
}

static int line_open(lua_State *L) {
    const char *path = luaL_optstring(L, 1, "");
    line_close(L);
    if (!setlocale(LC_CTYPE, "") || strcmp(setlocale(LC_CTYPE, NULL), "C") == 0) setlocale(LC_CTYPE, "C.UTF-8");
    snprintf(line.path, sizeof line.path, "%s", path);
    line.edit = el_init("kvbench", stdin, stdout, stderr);
    line.history = history_init();
    if (!line.edit || !line.history) return luaL_error(L, "the terminal cannot be opened for line editing");
    HistEvent event;
    history(line.history, &event, H_SETSIZE, HISTORY_ENTRIES);
    history(line.history, &event, H_SETUNIQUE, 1);
    if (line.path[0]) history(line.history, &event, H_LOAD, line.path);
    el_set(line.edit, EL_HIST, history, line.history);
    el_set(line.edit, EL_PROMPT, prompt_of);
    el_set(line.edit, EL_EDITOR, "emacs");
    el_wset(line.edit, EL_GETCFN, read_char);
    el_set(line.edit, EL_ADDFN, "kv-complete", "Complete a Lua name", on_tab);
    el_set(line.edit, EL_BIND, "^I", "kv-complete", NULL);
    el_set(line.edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(line.edit, NULL);
    return 0;
}

static int line_read(lua_State *L) {
    if (!line.edit) return luaL_error(L, "line.read before line.open");
    snprintf(line.prompt, sizeof line.prompt, "%s", luaL_checkstring(L, 1));
    const char *typed = luaL_optstring(L, 2, "");
    if (typed[0]) el_push(line.edit, typed);
    line.tab = 0;
    int count = 0;
    errno = 0;
    const char *text = el_gets(line.edit, &count);
    if (!text || count <= 0) {
        if (!line.tab && !kvb_cancelled() && errno != EINTR) return 0;
        if (!line.tab) {
            lua_pushnil(L);
            lua_pushliteral(L, "interrupt");
            return 2;
        }
        text = "", count = 0;
    }
    if (count > 0 && text[count - 1] == '\n') count--;
    lua_pushlstring(L, text, (size_t)count);
    if (!line.tab) return 1;
    lua_pushliteral(L, "tab");
    return 2;
}

/* The whole file is written each time: it is small, and a crash of user code must not lose the session's history. */
static int line_add(lua_State *L) {
    const char *entry = luaL_checkstring(L, 1);
    if (!line.history) return 0;
    HistEvent event;
    history(line.history, &event, H_ENTER, entry);
    if (line.path[0]) history(line.history, &event, H_SAVE, line.path);
    return 0;
}

int kvb_line_module(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"open", line_open}, {"read", line_read}, {"add", line_add}, {"close", line_close}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
