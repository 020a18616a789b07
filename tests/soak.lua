-- SPDX-License-Identifier: Apache-2.0
-- make soak (SOAK_MINUTES=20): sweeps, prompts, faults and bad files in one process until the time is over, drawn from
-- a seed. Every result is compared with the first one of its kind; library bytes must return to where they were after
-- each round, and neither the process's memory nor what its heaps have in use may grow. One line a minute; the last is
-- `N passed, N failed`.
local ffi = require "ffi"
local C = require("kvbench.ffi").C
local files = dofile(require("kvbench.paths").at "tests/lua/model_files.lua")
local kv = require "kvbench"
local json = require "kvbench.json"
local options = require "kvbench.options"
local paths = require "kvbench.paths"
local rng = require "kvbench.rng"

local minutes = tonumber(os.getenv "SOAK_MINUTES") or 20
local seed = os.getenv "SOAK_SEED" or "A"
local base = os.tmpname()
os.remove(base)
os.execute("mkdir -p " .. base)

-- ---- a tiny model: answers mean nothing ----

local tiny = dofile(paths.at "tests/lua/tiny_sweep.lua")
local model = tiny.model()
local data = kv.dataset("knowledge", { size = 2, seed = seed })
local gguf = files.gguf(base .. "/tiny.gguf", {})

-- ---- activities: each returns a text that must be the same whenever it runs with the same number ----

local function digest(rows)
  local lines = {}
  for i, row in ipairs(rows) do
    lines[i] = json.encode { row.passage_id, row.press, row.ratio, row.q or row.question_id or "", row.answer or "",
      row.f1 or -1, row.evicted or row.effective_ratio or -1 }
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

local presses = { { "knorm", "random" }, { "snapkv", { press = "adakv", of = "knorm" } }, { "chunk", "streaming_llm" } }
local folders = 0
local function settings(n)
  folders = folders + 1
  return { model = model, dataset = data, presses = presses[n], ratios = { 0, .5, .9 }, regimes = { "agnostic" },
    max_new_tokens = 6, quiet = true, out = ("%s/sweep-%d"):format(base, folders) }
end

local function remove(folder) os.execute("rm -rf '" .. folder .. "'") end

local acts = {}

function acts.sweep(n)
  local o = settings(n)
  local text = digest(kv.sweep(o).rows)
  remove(o.out)
  return text
end

-- Broken off by a failed allocation, perhaps several times, then finished in the same folder.
function acts.broken_sweep(n, r)
  local o = settings(n)
  for _ = 1, r:int(1, 3) do
    C.kvb_memory_fail_nth((r:int(0, 1) * 2 - 1) * r:int(1, 4000))
    local ok, why = pcall(kv.sweep, o)
    C.kvb_memory_fail_nth(0)
    if not ok and not tostring(why):find "out of memory" then error(why, 0) end
  end
  local text = digest(kv.sweep(o).rows)
  remove(o.out)
  return text
end

function acts.generate(n, r)
  local ctx = model:prefill(data.records[n % #data.records + 1].passage, { queries = true })
  local keep = kv.press(({ "snapkv", "tova", "keydiff" })[n]):keep(ctx, .6)
  local evicted = ctx:evict(keep)
  if r:int(1, 3) == 1 then -- a fault on the way, and once more
    C.kvb_memory_fail_nth(r:int(1, 60))
    pcall(function() ctx:generate("what?", { keep = keep }) end)
    C.kvb_memory_fail_nth(0)
  end
  local a = ctx:generate("Who was it?", { keep = keep, max_new_tokens = 5 + n })
  local b = evicted:generate("Who was it?", { max_new_tokens = 5 + n })
  evicted:close()
  ctx:close()
  return a.text .. "|" .. b.text .. "|" .. keep:hash()
end

function acts.load(n)
  local m = n == 1 and tiny.model() or kv.model.load(gguf, { dtype = "f32" })
  local text = tostring(m)
  m:close()
  return text
end

-- A file cut at some place: refused.
function acts.broken_file(_, r)
  local file = assert(io.open(gguf, "rb"))
  local text = file:read "*a"
  file:close()
  local path = base .. "/cut.gguf"
  local cut = text:sub(1, r:int(0, #text - 1))
  C.kvb_file_write(path, cut, #cut)
  local ok, why = pcall(kv.model.load, path, { dtype = "f32" })
  os.remove(path)
  if ok then error("a file that was cut was loaded", 0) end
  if tostring(why):find "%.lua:%d" then error(why, 0) end
  return "refused"
end

function acts.sandbox()
  local path = base .. "/theirs.lua"
  local text = 'return { name = "theirs", score = function(_, ctx) return -ctx.keys:norm(-1) end }'
  C.kvb_file_write(path, text, #text)
  local ctx = model:prefill(data.records[1].passage)
  options.sandbox = true
  local ok, hash = pcall(function() return kv.press(path):keep(ctx, .5):hash() end)
  options.sandbox = false
  require("kvbench.press_find").forget()
  local plain = kv.press("knorm"):keep(ctx, .5):hash()
  ctx:close()
  if not ok then error(hash, 0) end
  if hash ~= plain then error("the sandbox gave other scores", 0) end
  return hash
end

-- What someone types: expressions, help, mistakes.
function acts.prompt(n)
  local repl = require "kvbench.repl"
  local typed = ({ "1 + 1", "kv.press('snapkv'):label()", "#kv.press.list() > 20" })[n]
  local fn = assert(repl.compile((typed:gsub("kv%.", "require('kvbench').")) ))
  local wrong, why = repl.compile "for"
  if wrong or not why then error("half a statement was compiled", 0) end
  return tostring(fn())
end

-- The prompt itself, in a process of its own, with a mistake in the middle.
local binary = io.popen("readlink -f /proc/" .. tonumber(C.kvb_process_id()) .. "/exe"):read "*l"
function acts.typed(n)
  local input = ("x = %d\\nx * 2\\nerror('no')\\nnil + 1\\nx + 1\\n"):format(n)
  local pipe = io.popen(("printf \"%s\" | XDG_STATE_HOME=%s %s 2>&1"):format(input, base, binary))
  local text = pipe:read "*a"
  pipe:close()
  if not text:find(tostring(n * 2), 1, true) or not text:find(tostring(n + 1), 1, true) then
    error("the prompt answered: " .. text, 0)
  end
  return "answered"
end

-- ---- running ----

local function resident()
  local file = assert(io.open "/proc/self/statm")
  local pages = file:read("*l"):match "^%d+ (%d+)"
  file:close()
  return tonumber(pages) * 4096 / 2 ^ 20
end

local function live()
  for _ = 1, 3 do collectgarbage() end
  return tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL))
end

-- KiB in use in the C heap and the Lua heap. What is resident says less: it holds what the allocator keeps for later,
-- and the JIT's traces, which come one by one for hours, until there are a thousand and it begins anew.
ffi.cdef [[
  struct soak_heap { size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost; };
  struct soak_heap mallinfo2(void);
]]
local function in_use()
  jit.flush()
  live()
  local heap = ffi.C.mallinfo2()
  return tonumber(heap.uordblks + heap.hblkhd) / 1024, collectgarbage "count"
end

local names = { "sweep", "broken_sweep", "generate", "generate", "load", "broken_file", "sandbox", "prompt", "typed" }
local r, expected, counts = rng.new("soak/" .. seed), {}, {}
local passed, failed, begin, told = 0, 0, C.kvb_time(), 0
local bytes, history, heaps, sampled, traced = nil, {}, {}, 0, 0

local function fail(what, why)
  failed = failed + 1
  print(("FAIL round %d: %s: %s"):format(passed + failed, what, tostring(why):gsub("%s+", " "):sub(1, 500)))
end

local function round(name, n)
  -- On a stack of its own: a dead slot of this one would go on naming a tensor, which then counts as lost.
  local ok, text = coroutine.resume(coroutine.create(acts[name]), n, r)
  C.kvb_memory_fail_nth(0)
  local key = (name == "broken_sweep" and "sweep" or name) .. n
  if not ok then return fail(key, text) end
  expected[key] = expected[key] or text
  if expected[key] ~= text then return fail(key, "another result than the first time") end
  passed, counts[name] = passed + 1, (counts[name] or 0) + 1
end

for _, name in ipairs(names) do for n = 1, 3 do round(name, n) end end -- fills caches and what is compared with
bytes = live()
local first = resident()
repeat
  local name, n = names[r:int(1, #names)], r:int(1, 3)
  round(name, n)
  local now = live()
  if now > bytes then -- a compiled trace may name an object as a constant: dropped with it, and nothing else is run
    jit.flush()
    traced, now = traced + 1, live()
  end
  if now > bytes then
    fail(name .. n, ("%d bytes in use, %d before"):format(now, bytes))
    bytes = now
  end
  local at = (C.kvb_time() - begin) / 60
  if at - sampled >= .1 then
    history[#history + 1], sampled = { at, resident() }, at
  end
  if at - told >= 1 then
    told = at
    local in_c, in_lua = in_use()
    heaps[#heaps + 1] = { at, in_c, in_lua }
    print(("%5.1f min  %6d rounds  %6.1f MiB resident  %8.1f + %.1f KiB in use by C and Lua  %d failed"):format(at,
      passed, resident(), in_c, in_lua, failed))
    io.stdout:flush()
  end
until at >= minutes or failed > 20

-- Growth: the slope a minute of a straight line through the second half, and what it comes to there.
local function growth(list, column)
  local half = math.floor(#list / 2) + 1
  local n, sx, sy, sxx, sxy = 0, 0, 0, 0, 0
  for i = half, #list do
    local x, y = list[i][1], list[i][column]
    n, sx, sy, sxx, sxy = n + 1, sx + x, sy + y, sxx + x * x, sxy + x * y
  end
  local spread = n * sxx - sx * sx
  local slope = spread > 0 and (n * sxy - sx * sy) / spread or 0
  return slope, n > 0 and slope * (list[#list][1] - list[half][1]) or 0
end

local slope, grown = growth(history, 2)
print(("resident: %.1f MiB after the first rounds, %.1f at the end, peak %.1f; %+.2f MiB a minute in the second half")
  :format(first, history[#history][2], tonumber(C.kvb_process_peak_bytes()) / 2 ^ 20, slope))
if grown > 8 then fail("memory", ("the process grew by %.1f MiB in the second half"):format(grown)) end
print(("%d rounds left bytes that compiled traces named"):format(traced))
for i, where in ipairs { "C", "Lua" } do
  slope, grown = growth(heaps, i + 1)
  print(("in use by %s: %+.2f KiB a minute in the second half"):format(where, slope))
  if grown > 128 then fail("memory", ("%s's heap grew by %.0f KiB in the second half"):format(where, grown)) end
end
for _, name in ipairs { "sweep", "broken_sweep", "generate", "load", "broken_file", "sandbox", "prompt", "typed" } do
  print(("  %-13s %6d"):format(name, counts[name] or 0))
end
model:close()
os.execute("rm -rf '" .. base .. "'")
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and 0 or 1)
