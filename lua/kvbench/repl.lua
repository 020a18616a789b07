-- SPDX-License-Identifier: Apache-2.0
-- The prompt. One input is a chunk of Lua that may span lines; an expression shows its values, an error takes one line
-- and the prompt survives. User chunks run with the JIT off, because compiled loops ignore the hook that Ctrl-C sets.
local C = require("kvbench.ffi").C
local complete = require "kvbench.complete"
local errors = require "kvbench.errors"
local heat = require "kvbench.heat"
local help = require "kvbench.help"
local paths = require "kvbench.paths"
local repl_command = require "kvbench.repl_command"
local show = require "kvbench.show"
local signal = require "kvbench.signal"
local text = require "kvbench.text"
local user_code = require "kvbench.user_code"

local M = {}

local CHUNK = "=input"
local handler = signal.handler(errors.handler)
local HASTE = 1 -- seconds in which several Ctrl-C are one; later, another one ends what does not stop

--- Compiles what was typed: first as an expression, then as statements. Returns the function; or nil, "more" when only
-- the
--- end is missing; or nil and the error.
function M.compile(source)
  local expression = source:gsub("^%s*=", "")
  -- As an argument: after `return error(...)` the tail call would have lost the input's own line.
  local close = expression:find("--", 1, true) and "\n)" or ")"
  local fn = loadstring("return (function(...) return ... end)(" .. expression .. close, CHUNK)
  if fn then return fn end
  local problem
  fn, problem = loadstring(source, CHUNK)
  if fn then return fn end
  local _, of_expression = loadstring("return " .. expression, CHUNK)
  for _, message in ipairs { problem, of_expression } do
    local open = message:find "near '<eof>'$" and not message:find "unfinished string" -- which ends with its line
    if open or message:find "unfinished long" then return nil, "more" end
  end
  return nil, problem
end

-- Calls fn(...) so that Ctrl-C stops it; prints what went wrong, one line. Returns false, or true and fn's results.
local function guarded(err, fn, ...)
  signal.reset()
  signal.patience(0)
  signal.grace(HASTE)
  local function finish(ok, ...)
    signal.patience(math.huge)
    signal.grace(math.huge)
    local interrupted = signal.cancelled()
    signal.reset()
    io.stdout:flush()
    if ok then return true, ... end
    local problem = ...
    local trace = os.getenv "KVB_TRACE" and problem.trace or ""
    err:write(interrupted and "interrupted" or problem.text .. trace, "\n")
    return false
  end
  return finish(xpcall(fn, handler, ...))
end

-- How pictures are drawn on this terminal; nil when the output is not one.
local function terminal()
  local width = C.kvb_terminal_width(1)
  if width == 0 then return nil end
  return { width = width, colour = os.getenv "TERM" ~= "dumb" and not os.getenv "NO_COLOR" }
end

local function show_value(value, out)
  out:write(show.value(value), "\n")
  local o = out == io.stdout and terminal()
  local picture = o and heat.worth(value) and heat.of(value, o)
  if picture then out:write(picture, "\n") end
end

--- Runs a compiled input; prints its values and sets `_` to the first. Returns false after an error, which it prints.
function M.evaluate(fn, out, err)
  jit.off(fn, true)
  return (guarded(err, function()
    local function show_all(...)
      for i = 1, select("#", ...) do show_value((select(i, ...)), out) end
      if select("#", ...) > 0 then _G._ = (...) end
    end
    show_all(fn())
  end))
end

local tools = {
  guarded = function(fn) return guarded(io.stderr, fn) end,
  terminal = terminal,
  run = function(source)
    local fn, problem = M.compile(source)
    if fn then return M.evaluate(fn, io.stdout, io.stderr) end
    io.stderr:write(problem == "more" and "the input ended inside a statement" or problem, "\n")
    return false
  end,
}

-- The terminal's reader: completion is a loop of reads (see line.c).
local function terminal_reader(line)
  return function(prompt)
    local typed = ""
    while true do
      if signal.cancelled() then return nil, "interrupt" end -- pressed between two reads
      local got, why = line.read(prompt, typed)
      if why ~= "tab" then return got, why end
      local choices
      typed, choices = complete.line(got)
      if #choices > 0 and typed == got then
        io.stdout:write("\n", text.wrap(choices, math.max(40, C.kvb_terminal_width(1))), "\n")
      else
        io.stdout:write("\r\27[K")
      end
      io.stdout:flush()
    end
  end
end

local function open_line()
  local line = require "kvbench.line"
  local folder = paths.state()
  local history = C.kvb_dir_make(folder) == 0 and folder .. "/history" or nil
  line.open(history)
  return line
end

--- Reads, runs, prints until the end of input. read(prompt) returns a line, or nil, or nil and "interrupt".
--- Returns 0, or 1 when something failed and nobody was there to see it (`lenient` false).
function M.loop(read, remember, lenient)
  local pending, failed = nil, false
  while true do
    signal.patience(math.huge)
    signal.grace(math.huge) -- Ctrl-C at the prompt drops the line; nothing of ours is to be stopped
    local got, why = read(pending and "..> " or "kv> ")
    if got == nil and why == "interrupt" then
      signal.reset()
      io.stdout:write("\n")
      pending = nil
    elseif got == nil then
      if pending then
        io.stderr:write("the input ended inside a statement\n")
        failed = true
      end
      break
    else
      local handled = not pending and repl_command.run(got, tools)
      if handled == "quit" then break end
      failed = failed or handled == "failed"
      local source = pending and pending .. "\n" .. got or got
      if not handled and source:find("%S") then
        local fn, problem = M.compile(source)
        if problem == "more" then pending = source else
          pending = nil
          remember(source)
          if fn then failed = not M.evaluate(fn, io.stdout, io.stderr) or failed else
            io.stderr:write(problem, "\n")
            failed = true
          end
        end
      elseif handled then remember(source) end
    end
    io.stdout:flush()
  end
  return failed and not lenient and 1 or 0
end

--- What the prompt and -e find without a require.
function M.globals() _G.kv, _G.help = require "kvbench", help.show end

function M.main()
  M.globals()
  user_code.install()
  if C.kvb_terminal_width(0) == 0 then
    local status = M.loop(function() return io.read("*l") end, function() end, false)
    signal.reset()
    return status
  end
  local ffi = require "ffi"
  local version, tier = ffi.string(C.kvb_version()), ffi.string(C.kvb_cpu_tier())
  print(("kvbench %s (%s) · help() explains, Ctrl-D leaves"):format(version, tier))
  local line = open_line()
  local ok, status = pcall(M.loop, terminal_reader(line), line.add, true)
  line.close()
  signal.reset()
  print()
  if not ok then error(status, 0) end
  return status
end

return M
