/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lua_libfuzzer.c - what is read in Lua (lua_targets.lua) as a libFuzzer target; KVB_FUZZ_TARGET names which.
 *
 * Coverage of the C library comes from the compiler. That of Lua comes from a hook called at every line, which counts
 * pairs of lines that follow each other in an array libFuzzer looks at beside its own. The JIT is off: compiled code
 * calls no hook. Rejected: the mutations of lua_fuzz.lua alone, which do not know what they have reached.
 */
#include "kvbench.h"
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern const char kvb_header_text[], kvb_ops_text[];
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { PAIRS = 1 << 15 };
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t pairs[PAIRS];

static lua_State *lua;
static uint64_t previous;

static void on_line(lua_State *L, lua_Debug *where) {
    lua_getinfo(L, "S", where);
    /* a chunk's name is one string however often it is asked for */
    uint64_t line = ((uint64_t)(uintptr_t)where->source ^ (uint64_t)where->currentline << 40) * 0x9e3779b97f4a7c15u;
    uint8_t *counter = &pairs[(line ^ previous) >> 32 & (PAIRS - 1)];
    if (*counter < UINT8_MAX) ++*counter;
    previous = line >> 1;
}

static const char start[] =
    "local home, header, ops, target = ...\n"
    "package.path = home .. '/lua/?.lua;' .. home .. '/lua/?/init.lua;' .. package.path\n"
    "package.preload['kvbench.cdef'] = function() return { header = header, ops = ops } end\n"
    "package.preload['kvbench.signal'] = function() return { cancelled = function() return false end } end\n"
    "require('kvbench.paths').home = home\n"
    "require('kvbench.options').device = 'cpu'\n"
    "return dofile(home .. '/tests/fuzz/lua_targets.lua')(target)\n";

static void stop(const char *what) {
    fprintf(stderr, "ERROR: lua_libfuzzer: %s\n", what);
    abort();
}

static void clean(void) {
    lua_sethook(lua, NULL, 0, 0);
    lua_getfield(lua, LUA_REGISTRYINDEX, "clean");
    lua_pcall(lua, 0, 0, 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    const char *home = getenv("KVBENCH_HOME"), *target = getenv("KVB_FUZZ_TARGET");
    lua = luaL_newstate();
    if (!lua) stop("out of memory");
    luaL_openlibs(lua);
    luaJIT_setmode(lua, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    kvb_threads_set(1);
    if (luaL_loadbuffer(lua, start, sizeof start - 1, "=start")) stop(lua_tostring(lua, -1));
    lua_pushstring(lua, home ? home : KVB_SOURCE_DIR);
    lua_pushstring(lua, kvb_header_text);
    lua_pushstring(lua, kvb_ops_text);
    lua_pushstring(lua, target ? target : "config");
    if (lua_pcall(lua, 4, 2, 0)) stop(lua_tostring(lua, -1));
    lua_setfield(lua, LUA_REGISTRYINDEX, "clean");
    lua_setfield(lua, LUA_REGISTRYINDEX, "run");
    atexit(clean);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    previous = 0;
    lua_sethook(lua, on_line, LUA_MASKLINE, 0);
    lua_getfield(lua, LUA_REGISTRYINDEX, "run");
    lua_pushlstring(lua, (const char *)data, bytes);
    if (lua_pcall(lua, 1, 1, 0)) stop(lua_tostring(lua, -1));
    if (!lua_isnil(lua, -1)) stop(lua_tostring(lua, -1));
    lua_settop(lua, 0);
    lua_sethook(lua, NULL, 0, 0);
    return 0;
}
