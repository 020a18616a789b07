/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - starts LuaJIT and hands over to lua/kvbench/cli.lua; everything a user sees is decided there.
 *
 * GNU OpenMP reads its environment before main() runs, and its default is to spin for long at every barrier, which on a
 * shared machine costs a time slice each time. So the process sets a bound and executes itself once more. Rejected:
 * OpenMP's passive policy (a futex per barrier; measured slower for steps of a few milliseconds).
 *
 * Ctrl-C sets the library's cancel flag, which long calls and the sweep poll; code that polls nothing is stopped by a
 * debug hook after a moment of patience. The hook is set by the signal only, so it costs nothing until then. Rejected:
 * a counting hook from the start (keeps LuaJIT out of compiled code).
 */
#include "kvbench.h"
#include "line.h"
#include <lauxlib.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const char kvb_header_text[], kvb_ops_text[];

static void bound_spinning(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "2000", 1);
    execv("/proc/self/exe", argv); /* returns only where /proc is not mounted: then spinning stays unbounded */
}

/* The folder that holds lua/: $KVBENCH_HOME, beside the binary (bundle), above it (build/), or the source tree. */
static void find_home(char *home, size_t bytes) {
    char exe[PATH_MAX];
    const char *chosen = getenv("KVBENCH_HOME");
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    const char *folder = dirname(exe);
    const char *const candidates[] = {"%s", "%s/..", KVB_SOURCE_DIR};
    snprintf(home, bytes, "%s", chosen ? chosen : KVB_SOURCE_DIR);
    for (int i = 0; !chosen && i < 3; i++) {
        char root[PATH_MAX], probe[PATH_MAX + 32];
        snprintf(root, sizeof root, candidates[i], folder);
        snprintf(probe, sizeof probe, "%s/lua/kvbench/cli.lua", root);
        if (access(probe, R_OK) != 0) continue;
        char resolved[PATH_MAX];
        snprintf(home, bytes, "%s", realpath(root, resolved) ? resolved : root);
        return;
    }
}

/* Instructions until a script that caught the interruption in a pcall is interrupted again; enough to report it. */
enum { AGAIN = 10000000 };
static volatile int raised; /* how often the present interruption was */

static lua_State *interpreter;
static volatile double interrupted_at, patience, grace;
static volatile sig_atomic_t terminated; /* SIGTERM came while somebody took it as an interruption */

static void on_hook(lua_State *L, lua_Debug *where) {
    (void)where;
    if (kvb_cancelled() && kvb_time() - interrupted_at < patience) return;
    if (!kvb_cancelled()) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    lua_sethook(L, on_hook, LUA_MASKCOUNT, raised++ ? 1 : AGAIN); /* the third time wherever the second was caught */
    lua_pushliteral(L, "interrupted");
    lua_error(L);
}

/* LuaJIT documents lua_sethook as callable from a signal handler. A second Ctrl-C, `grace` seconds after the first,
 * ends
 * the process. */
static void on_interrupt(int number) {
    if (number == SIGTERM) terminated = 1;
    if (kvb_cancelled()) {
        if (kvb_time() - interrupted_at < grace) return;
        signal(number, SIG_DFL);
        raise(number);
    }
    kvb_cancel();
    raised = 0;
    interrupted_at = kvb_time();
    lua_sethook(interpreter, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1000);
}

static void install_interrupt(int number) {
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: the prompt's read must return */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/*
 * The Lua module "kvbench.signal", there before the library is declared to Lua:
 *   patience(seconds)  how long code that polls the flag gets to finish by itself after Ctrl-C
 *   grace(seconds)     how soon after the first Ctrl-C further ones are taken as the same
 *   handler(f)         f as an xpcall handler that is safe from the interruption it handles
 *   cancelled()        whether Ctrl-C was pressed since the last reset()
 *   hold(true)         SIGTERM, as a scheduler sends it, is taken as Ctrl-C from here
 *   hold(false)        no longer; one that came meanwhile ends the process now
 *   terminated()       whether one came
 */
static int set_patience(lua_State *L) {
    patience = luaL_checknumber(L, 1);
    return 0;
}

static int set_grace(lua_State *L) {
    grace = luaL_checknumber(L, 1);
    return 0;
}

static int cancelled(lua_State *L) {
    lua_pushboolean(L, kvb_cancelled());
    return 1;
}

static int hold(lua_State *L) {
    if (lua_toboolean(L, 1)) {
        install_interrupt(SIGTERM);
        return 0;
    }
    signal(SIGTERM, SIG_DFL);
    if (terminated) raise(SIGTERM);
    return 0;
}

static int was_terminated(lua_State *L) {
    lua_pushboolean(L, terminated);
    return 1;
}

static int reset(lua_State *L) {
    kvb_cancel_reset();
    lua_sethook(L, NULL, 0, 0);
    return 0;
}

/* An xpcall handler must not be interrupted itself: this one ends the hook and then calls the one in its upvalue. */
static int call_handler(lua_State *L) {
    lua_sethook(L, NULL, 0, 0);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int handler(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushcclosure(L, call_handler, 1);
    return 1;
}

static int signal_module(lua_State *L) {
    static const luaL_Reg functions[] = {{"patience", set_patience}, {"grace", set_grace},   {"handler", handler},
                                         {"cancelled", cancelled},   {"reset", reset},       {"hold", hold},
                                         {"terminated", was_terminated},                     {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}

static void set_package(lua_State *L, const char *home) {
    lua_getglobal(L, "package");
    lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua;", home, home);
    lua_getfield(L, -2, "path");
    lua_concat(L, 2);
    lua_setfield(L, -2, "path");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, kvb_line_module);
    lua_setfield(L, -2, "kvbench.line");
    lua_pushcfunction(L, signal_module);
    lua_setfield(L, -2, "kvbench.signal");
    lua_pop(L, 2);
}

/* cli(args, home, header text, ops text) returns the exit status. */
static int run(lua_State *L, int argc, char **argv, const char *home) {
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/lua/kvbench/cli.lua", home);
    if (luaL_loadfile(L, path) != 0) {
        fprintf(stderr, "kvbench: %s\n-> set KVBENCH_HOME to the folder that holds lua/kvbench\n", lua_tostring(L, -1));
        return 1;
    }
    set_package(L, home);
    lua_createtable(L, argc, 0);
    for (int i = 1; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_pushstring(L, home);
    lua_pushstring(L, kvb_header_text);
    lua_pushstring(L, kvb_ops_text);
    if (lua_pcall(L, 4, 1, 0) != 0) {
        fprintf(stderr, "kvbench: %s\n", lua_tostring(L, -1) ? lua_tostring(L, -1) : "(error object is not a string)");
        return 1;
    }
    return (int)lua_tointeger(L, -1);
}

int main(int argc, char **argv) {
    bound_spinning(argv);
    /* Caches of some MiB come and go with every passage: their pages are reused instead of being returned and faulted
     * in again. */
    mallopt(M_MMAP_THRESHOLD, 256 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
    char home[PATH_MAX];
    find_home(home, sizeof home);
    lua_State *L = luaL_newstate();
    if (!L) {
        fprintf(stderr, "kvbench: out of memory while starting LuaJIT\n");
        return 1;
    }
    luaL_openlibs(L);
    interpreter = L;
    install_interrupt(SIGINT);
    int status = run(L, argc, argv, home);
    signal(SIGINT, SIG_DFL); /* the state is about to go */
    lua_close(L);
    return status;
}
