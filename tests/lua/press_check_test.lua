-- SPDX-License-Identifier: Apache-2.0
-- kvbench press: what the contract checks find, and what errors inside a user's press say.
local t = require "kvbench.testing"
local kv = require "kvbench"
local checks = require "kvbench.press_check"
local command = require "kvbench.press_command"
local fake = require "kvbench.fake_context"
local tensor = require "kvbench.tensor"

-- The name and text of the first promise that does not hold, or nil.
local function broken(rule)
  rule.name = rule.name or "mine"
  for _, result in ipairs(checks.contract(kv.press(rule))) do
    if not result.ok then return result.name, result.text end
  end
end

local function expect(rule, name, pattern)
  local found, text = broken(rule)
  t.eq(found, name)
  t.ok(text and text:find(pattern), tostring(text))
end

t.case("the contract holds for our own presses", function()
  for _, name in ipairs { "knorm", "adakv", "snapkv", "block", "composed", "think", "decoding" } do
    t.eq(broken(kv.press(name).rule), nil, name)
  end
end)

t.case("each broken promise is found by its check", function()
  expect({ score = function(_, ctx) return ctx.keys end }, "shape, NaN", "reduce the last dimension")
  expect({ score = function(_, ctx) return (ctx.keys:norm(-1) - 100):log() end }, "shape, NaN", "NaN at layer 0")
  local calls = 0
  expect({ score = function(_, ctx)
    calls = calls + 1
    return tensor.rand({ ctx.layers, ctx.kv_heads, ctx.tokens }, calls)
  end }, "determinism", "keep different tokens.*tensor.rand")
  expect({ ratio_dependent = true, nested = true, score = function(_, ctx, ratio)
    return ctx.keys:norm(-1) * (ratio > 0.4 and 1 or -1)
  end }, "nesting", "keeps tokens that ratio 0.35 evicts")
  expect({ score = function() end, cut = function(_, order)
    return kv.press("knorm"):keep(order.ctx, 0.5)
  end, order = function() end }, "budget", "ratio 0.1 of 53 tokens keeps 234 in 9 heads, expected 47 each")
  expect({ budget = "approx", nested = false, cut = function(_, order, ratio)
    return kv.press("knorm"):keep(order.ctx, ratio)
  end, order = function() end }, "protected tokens", "evicts tokens outside of the evictable ones")
  expect({ score = function(_, ctx)
    local norm = ctx.keys:norm(-1)
    return norm - norm:mean(1):unsqueeze(1) -- over the layers that happen to be given
  end }, "batch invariance", "other scores than among 6 layers")
  expect({ score = function(_, ctx)
    local last = ctx.keys:narrow(3, ctx.tokens - 9, 10):norm(-1)
    return last:pad(ctx.tokens - 10, 0)
  end }, "short contexts", "^1 tokens: press 'mine'")
end)

t.case("what goes wrong inside a score names press, file, line and layers", function()
  local ctx = fake.new { layers = 4, layer_first = 8, tokens = 20 }
  local function raised(score) return t.fails(function() kv.press({ name = "mine", score = score }):keep(ctx, 0.5) end,
    "mine") end
  t.ok(raised(function(_, c) return c.keyz.x end):find
    "^press 'mine' %(.*press_check_test.lua:%d+%), layers 8 to 11: attempt to index field 'keyz'")
  t.ok(raised(function(_, c) return c.keys:matmul(c.values) end):find
    "^press 'mine' %(.*press_check_test.lua:%d+%), layers 8 to 11: matmul: shapes")
  t.ok(raised(function() error("not today", 0) end):find "layers 8 to 11: not today")
end)

-- ---- the command ----

local function run(...)
  local lines, real = {}, print
  print = function(...) lines[#lines + 1] = table.concat({ ... }, "\t") end -- luacheck: ignore
  local ok, result = pcall(command.main, { ... })
  print = real -- luacheck: ignore
  if not ok then
    if type(result) == "table" then return nil, tostring(result), result.exit end
    return nil, result, 1
  end
  return table.concat(lines, "\n"), nil, result or 0
end

t.case("press list: every name, with scope, needs and paper", function()
  local out = run "list"
  for _, name in ipairs(kv.press.list()) do t.ok(("\n" .. out):find("\n" .. name .. " ", 1, true), name) end
  t.ok(out:find "\nadakv +layer budget +exact +queries +arXiv:2407.11550 ")
  t.ok(out:find "\nsnapkv +head +exact +window queries 64 ")
  t.ok(out:find "%(alias of expected_attention%)")
end)

t.case("press check without a model: the contract, and the exit status", function()
  local path = os.tmpname() .. ".lua"
  local file = io.open(path, "w")
  file:write [[return { name = "flat", score = function(self, ctx) return ctx.values:norm(-1):mean(-1) end }]]
  file:close()
  local out, _, status = run("check", path, "--model", "none")
  t.eq(status, 1)
  t.ok(out:find "FAIL shape, NaN +press 'flat' .*score has shape", out)
  os.remove(path)
  out, _, status = run("check", "knorm", "--model", "none")
  t.eq(status, 0)
  t.ok(out:find "ok   short contexts    1 to 70 tokens", out)
end)

t.case("press check on a model: likeness, cost", function()
  local paths = require "kvbench.paths"
  local model = kv.model.load(paths.at "tests/golden/models/llama", { dtype = "f32" })
  local ids = {}
  for i = 1, 50 do ids[i] = 3 + i * 29 % 120 end
  local ctx = model:prefill(ids, { queries = true })
  local rows = checks.compare(kv.press "knorm", { ctx }, { 0.5 })
  t.eq({ rows[1].label, rows[1][1] }, { "knorm", 1 })
  t.ok(rows[#rows][1] < 0.9)
  local ms, launches = checks.cost(kv.press "knorm", ctx)
  t.ok(ms > 0 and launches >= 2, ("%g ms, %d launches"):format(ms, launches))
end)

t.case("press: what is misunderstood", function()
  local function fails(pattern, status, ...)
    local _, text, exit = run(...)
    t.ok(text and text:find(pattern), tostring(text))
    t.eq(exit, status)
  end
  fails("usage: kvbench press list", 2)
  fails("no command 'press chek' %-> did you mean 'check'", 2, "chek")
  fails("a name is missing", 2, "new")
  fails("'a b' is no name", 1, "new", "a b")
  fails("kvbench has a press 'knorm' itself", 1, "new", "knorm")
  fails("a file or name is missing", 2, "check")
  fails("press 'knrom' is unknown %-> did you mean 'knorm'", 1, "check", "knrom")
  fails("no/such.lua", 1, "check", "no/such.lua")
  fails("passages wants a whole number", 2, "check", "knorm", "--passages", "0")
end)

t.case("press new: a skeleton that passes its own check", function()
  local process = dofile((debug.getinfo(1, "S").source:sub(2):gsub("[^/]*$", "")) .. "../e2e/process.lua")
  local result = process.shell "$K press new mine && $K press check press/mine.lua --model none && $K press new mine"
  t.ok(result.out:find "press/mine.lua is written; next: kvbench press check press/mine.lua", result.out)
  t.ok(result.out:find "ok   batch invariance", result.out)
  t.ok(result.err:find "press/mine.lua exists", result.err)
  t.eq(result.status, 1)
  local used = process.shell [[$K -e 'print(require("kvbench").press("mine", {window = 3}):label())']]
  t.eq(used.out, "mine(window=3)\n")
end)
