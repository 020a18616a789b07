/* SPDX-License-Identifier: Apache-2.0 */
/* line.h - the Lua module "kvbench.line": line editing for the REPL. Part of the front end, not of libkvbench. */
#ifndef KVB_LINE_H
#define KVB_LINE_H
#include <lua.h>

/*
 * Pushes the module table:
 *   line.open(history_file or nil)      takes the terminal; history is read when the file exists
 *   line.read(prompt [, text])          one line without its newline, edited with `text` already typed. Returns
 *                                         line            Enter
 *                                         line, "tab"     Tab, with the cursor at the end of what `line` holds
 *                                         nil             end of input (Ctrl-D)
 *                                         nil, "interrupt"  Ctrl-C
 *   line.add(entry)                     appends an entry (may hold newlines) to the history and its file
 *   line.close()                        gives the terminal back; more calls do nothing
 */
int kvb_line_module(lua_State *L);
#endif
