-- SPDX-License-Identifier: Apache-2.0
-- The prompt's own words: lines that begin with a colon. Each command is a function(rest of the line, tools); tools =
-- {run = evaluates Lua text and prints its values as the prompt does, failed = prints a line as an error}.
local C = require("kvbench.ffi").C
local heat = require "kvbench.heat"
local help = require "kvbench.help"
local text = require "kvbench.text"
local user_code = require "kvbench.user_code"

local M = { commands = {} }
local commands = M.commands

-- The value of an expression, or the last one when nothing is given.
local function value_of(source)
  if source == "" then
    if _G._ == nil then error("there is no last value yet -> name one after the command", 0) end
    return _G._
  end
  local fn, problem = loadstring("return " .. source, "=input")
  if not fn then error(problem, 0) end
  return (fn())
end

function commands.help(rest)
  if rest == "" then return help.show() end
  local fn = loadstring("return " .. rest)
  local ok, value = pcall(fn or error)
  help.show(ok and value ~= nil and value or rest)
end

function commands.quit() return "quit" end

-- Bytes as people read them, with a sign.
local function change(bytes)
  local size = math.abs(bytes)
  if size < 1024 then return ("%+d bytes"):format(bytes) end
  return size < 2 ^ 20 and ("%+.1f KiB"):format(bytes / 2 ^ 10) or ("%+.1f MiB"):format(bytes / 2 ^ 20)
end

--- Runs the rest of the line, then says how long it took: wall clock, CPU time of all threads, the library's memory.
function commands.time(rest, tools)
  if rest == "" then error(":time takes what to run -> :time ctx.keys:norm(-1)", 0) end
  local memory, cpu, wall = tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL)), os.clock(), C.kvb_time()
  local ok = tools.run(rest)
  wall, cpu = C.kvb_time() - wall, os.clock() - cpu
  memory = tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL)) - memory
  print(("%.4g s, CPU %.4g s, memory %s"):format(wall, cpu, change(memory)))
  return ok and true or "failed"
end

-- Modules whose load declares C types or binds metatypes, which happens once a process.
local FIXED = { ["kvbench.ffi"] = true, ["kvbench.cdef"] = true, ["kvbench.tensor"] = true,
  ["kvbench.tensor.core"] = true, ["kvbench.line"] = true, ["kvbench.signal"] = true, ["kvbench"] = true }

local function reload(name)
  local old = package.loaded[name]
  package.loaded[name] = nil
  local ok, new = pcall(require, name)
  if not ok then
    package.loaded[name] = old
    error(new, 0)
  end
  local kv = package.loaded.kvbench
  for _, owner in ipairs { _G, kv } do
    for key, value in pairs(owner) do
      if type(old) == "table" and rawequal(value, old) then rawset(owner, key, new) end
    end
  end
end

--- :reload reads every module of the user's own again, :reload NAME that one (a module of kv, or as in require).
--- Globals
--- that held the old module hold the new one. Press files need no reloading: kv.press() looks at the file each time.
function commands.reload(rest)
  local names = rest == "" and user_code.modules() or { rest }
  for i, name in ipairs(names) do
    if package.loaded["kvbench." .. name] then name = "kvbench." .. name end
    if FIXED[name] then error((":reload: '%s' is bound to C types -> start kvbench again"):format(name), 0) end
    if not package.loaded[name] then
      error((":reload: no module '%s' is loaded %s"):format(name, text.suggest(name, user_code.modules())), 0)
    end
    reload(name)
    names[i] = name
  end
  print(#names > 0 and "reloaded " .. table.concat(names, ", ")
    or "nothing of your own was loaded by require(); press files are read again by each kv.press()")
end

--- :heat [EXPRESSION]: a tensor or keep-set (the last value) as a picture of characters.
function commands.heat(rest, tools)
  local picture = heat.of(value_of(rest), tools.terminal())
  if not picture then error(":heat takes a tensor or a keep-set", 0) end
  print(picture)
end

--- :png FILE [EXPRESSION]: a tensor, table of rows or keep-set (the last value) as a figure.
function commands.png(rest)
  local path, source = rest:match "^(%S+)%s*(.*)$"
  if not path then error(":png takes a file -> :png scores.png, or :png scores.png ctx.keys:norm(-1)", 0) end
  if source:find "^%S*/?%S+%.png$" and not path:find "%.png$" then
    error((":png takes the file first -> :png %s %s"):format(source, path), 0)
  end
  if not path:find "%.%a+$" then path = path .. ".png" end
  local tensor, plot = require "kvbench.tensor", require "kvbench.plot"
  local value = value_of(source)
  if type(value) == "table" and type(value[1]) == "number" then value = { value } end
  local spec = { matrix = value }
  local values, rows, columns, o = heat.matrix(value)
  if values then
    spec.matrix = tensor.zeros(rows, columns, { device = "cpu" }) -- wherever new tensors are made now
    local p = spec.matrix:pointer()
    for r = 0, rows - 1 do for c = 0, columns - 1 do p[r * columns + c] = values(r, c) end end
    spec.x, spec.y = { label = o.columns, first = o.first }, { label = o.rows, first = o.first }
    if o.high then
      spec.color = { label = "share of KV heads that keep it", min = o.low, max = o.high, format = "percent" }
    end
  elseif type(value) ~= "table" then
    error((":png takes a tensor, a keep-set or a table of rows, not a %s"):format(type(value)), 0)
  end
  print(table.concat(plot.heatmap(spec):save(path), ", "))
end

M.aliases = { h = "help", q = "quit", exit = "quit" }

--- Names for completion, sorted.
function M.names()
  local names = {}
  for name in pairs(commands) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Runs a line that begins with a colon: "quit", "failed", true when it was done; false when the line is Lua. A failing
--- command prints one line.
function M.run(line, tools)
  local name, rest = line:match "^:(%a*)%s*(.-)%s*$"
  if not name then return false end
  local fn = commands[M.aliases[name] or name]
  if not fn then
    print(("unknown command ':%s' %s"):format(name, text.suggest(name, M.names(), 10)))
    return true
  end
  local ok, outcome = tools.guarded(function() return fn(rest, tools) end)
  if not ok then return "failed" end
  return outcome or true
end

return M
