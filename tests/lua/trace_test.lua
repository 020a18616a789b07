-- SPDX-License-Identifier: Apache-2.0
-- Interventions and hidden states: what changes nothing, to the bit (a factor of 1, a state put back where it came
-- from); what is recorded, against prefill's own record; the logit lens; company and order. With
-- --device cuda: on the GPU.
local t = require "kvbench.testing"
local kv = require "kvbench"
local options = require "kvbench.options"
local tensor = require "kvbench.tensor"
local tiny = dofile(require("kvbench.paths").at "tests/lua/tiny_sweep.lua")

local function draw(seed, n)
  local r, ids = kv.rng.new(seed), {}
  for i = 1, n do ids[i] = r:int(3, 127) end
  return ids
end

local function numbers(x)
  local out, host = {}, x:cpu():contiguous()
  local n = 1
  for d = 1, host:dim() do n = n * host:size(d) end
  local flat = host:view(n)
  for i = 1, n do out[i] = flat:at(i) end
  return out
end

local function distance(a, b)
  local x, y, worst, largest = numbers(a), numbers(b), 0, 1e-30
  t.eq(#x, #y)
  for i = 1, #x do
    worst, largest = math.max(worst, math.abs(x[i] - y[i])), math.max(largest, math.abs(y[i]))
  end
  return worst / largest
end

local function suite(label, model, tolerance)
  local function case(name, fn) t.case(label .. ": " .. name, fn) end
  local text, ids = draw("context", 90), draw("question", 7)
  local ctx = model:prefill(text)
  local keep = kv.press("knorm"):keep(ctx, .6)
  local function ask(more, one)
    local batch, o = model:batch(), { ctx = ctx, ids = ids, max_new_tokens = 4, logits = true, ignore_stop = true }
    for name, value in pairs(more or {}) do o[name] = value end
    batch:add(o)
    local result = batch:run()[1]
    batch:close()
    return one and result[one] or result
  end
  local plain = ask { keep = keep }
  local function same(result, what)
    t.eq(result.ids, plain.ids, what)
    t.eq(result.margins, plain.margins, what)
    t.eq(numbers(result.logits), numbers(plain.logits), what)
  end

  case("a factor of 1 is no factor, to the bit", function()
    same(ask { keep = keep, temperature = 1 })
    t.ok(distance(ask({ keep = keep, temperature = .5 }, "logits"), plain.logits) > 1e-3,
      "a factor of 1/2 does nothing")
  end)

  case("a factor of 0 attends to everything alike", function()
    -- every weight equal: the order of the context's keys in a layer no longer matters, nor do the queries
    local a = ask({ temperature = 0, hidden = { layers = { 1 }, rows = { 0 } } }, "hidden")
    local b = ask({ temperature = 1e-12, hidden = { layers = { 1 }, rows = { 0 } } }, "hidden")
    t.ok(distance(a, b) < 1e-6)
  end)

  case("a factor in one layer leaves the layers before it alone", function()
    local factors = {}
    for l = 1, model.layers do factors[l] = l == 2 and 3 or 1 end
    local a = ask({ temperature = factors, hidden = { layers = { 0, 1, 2 }, rows = { -1 } } }, "hidden")
    local b = ask({ hidden = { layers = { 0, 1, 2 }, rows = { -1 } } }, "hidden")
    t.eq(numbers(a:narrow(1, 1, 2)), numbers(b:narrow(1, 1, 2)))
    t.ok(distance(a:narrow(1, 3, 1), b:narrow(1, 3, 1)) > 1e-4)
  end)

  case("recorded states are those of a prefill of context and question", function()
    local both = {}
    for _, id in ipairs(text) do both[#both + 1] = id end
    for _, id in ipairs(ids) do both[#both + 1] = id end
    local whole = model:prefill(both, { hidden = true })
    local seen = ask({ hidden = { rows = { 0, 3, -1 } } }, "hidden")
    t.eq(seen:size(1), model.layers + 1)
    for l = 1, model.layers do
      for i, row in ipairs { 0, 3, #ids - 1 } do
        t.ok(distance(seen[l][i], whole.hidden[l][#text + row + 1]) <= tolerance,
          ("level %d, row %d"):format(l - 1, row))
      end
    end
    same(ask { keep = keep, hidden = {} }, "recording changed the answer")
  end)

  case("rows of the answer are recorded, and those that never ran are 0", function()
    local result = ask { hidden = { layers = { 0, model.layers }, rows = { 7, 9, 10 } } }
    t.eq(result.rows, 10) -- 7 of the question, 3 generated ones were fed
    t.ok(distance(result.hidden:narrow(2, 1, 2), result.hidden:narrow(2, 1, 2) * 0) > 0)
    for _, x in ipairs(numbers(result.hidden:narrow(2, 3, 1))) do t.eq(x, 0) end
  end)

  case("the lens of what enters the final norm is the model's own output", function()
    local result = ask { keep = keep, hidden = { layers = { model.layers }, rows = { 0, 6 } } }
    local logits = model:lens(result.hidden[1])
    t.ok(distance(logits[1], result.logits[1]) <= tolerance and distance(logits[2], result.logits[7]) <= tolerance)
    t.eq(model:lens(result.hidden[1][1]):size(1), 1)
    t.fails(function() model:lens(tensor.zeros(2, 3)) end, "hidden")
  end)

  case("a state put back where it came from changes no bit", function()
    local states = ask { keep = keep, hidden = { rows = { 2, -1 } } }
    for l = 0, model.layers do
      same(ask { keep = keep, patch = { layer = l, row = 6, hidden = states.hidden[l + 1][2] } }, "layer " .. l)
    end
    same(ask { keep = keep, patch = { { layer = 0, row = 2, hidden = states.hidden[1][1] },
      { layer = 1, hidden = states.hidden[2][2] } } })
  end)

  case("a full run's last state brings its answer with it", function()
    local full = ask { hidden = { layers = { model.layers }, rows = { -1 } } }
    local patched = ask { keep = keep, patch = { layer = model.layers, hidden = full.hidden[1][1] } }
    t.eq(patched.ids[1], full.ids[1])
    t.ok(distance(patched.logits[7], full.logits[7]) <= tolerance)
    t.eq(numbers(patched.logits:narrow(1, 1, 6)), numbers(plain.logits:narrow(1, 1, 6)))
  end)

  case("records see the patch", function()
    local state = {}
    for i = 1, model.hidden do state[i] = i / 64 end
    local seen = ask({ patch = { layer = 1, row = 4, hidden = state }, hidden = { layers = { 1 }, rows = { 4 } } },
      "hidden")
    t.eq(numbers(seen), state)
  end)

  case("company, order and shared questions change nothing", function()
    local states = ask({ hidden = { rows = { -1 } } }, "hidden")
    local list = {
      { ctx = ctx, ids = ids, keep = keep, max_new_tokens = 4, ignore_stop = true, trunk = 3,
        hidden = { rows = { 4, 8 } } },
      { ctx = ctx, ids = ids, max_new_tokens = 3, temperature = .7, trunk = 3,
        hidden = { layers = { 1, 2 }, rows = { 0 } } },
      { ctx = ctx, ids = ids, keep = keep, max_new_tokens = 2, trunk = 6,
        patch = { layer = 1, hidden = states[2][1] } },
      { ctx = ctx, ids = ids, keep = keep, max_new_tokens = 4, trunk = 5 },
      { ctx = ctx, ids = draw("other", 12), max_new_tokens = 4, hidden = {} },
    }
    local function run(order)
      local batch, out = model:batch(), {}
      for _, i in ipairs(order) do
        list[i].tag = i
        batch:add(list[i])
      end
      for _, result in ipairs(batch:run()) do
        out[result.tag] = { ids = result.ids, margins = result.margins,
          hidden = result.hidden and numbers(result.hidden) }
      end
      batch:close()
      return out
    end
    local together = run { 1, 2, 3, 4, 5 }
    t.eq(run { 5, 4, 3, 2, 1 }, together)
    for i = 1, #list do t.eq(run({ i })[i], together[i], "request " .. i) end
  end)

  case("what cannot be is told", function()
    t.fails(function() ask { temperature = { 1 } } end, "temperature has 1 factors")
    t.fails(function() ask { temperature = -1 } end, "temperature factor of layer 0 is %-1")
    t.fails(function() ask { patch = { layer = 99, hidden = {} } } end, "hidden")
    t.fails(function() ask { hidden = { layers = { model.layers + 1 } } } end, "hidden: layer is")
    t.fails(function() ask { hidden = { rows = { 11 } } } end, "hidden: row is 11")
    t.fails(function() ask { hidden = { rows = { -8 } } } end, "hidden: row is %-8")
  end)
end

if options.device == "cuda" or (options.device or ""):find "^cuda" then
  suite("cuda f32", tiny.model("llama"), 1e-5)
  suite("cuda bf16", tiny.model("qwen3", { dtype = "bf16" }), 2e-2)
else
  suite("cpu f32", tiny.model("llama", { device = "cpu" }), 1e-5)
  suite("ref f32", tiny.model("qwen3", { device = "ref" }), 1e-5)
  suite("cpu bf16", tiny.model("qwen2", { device = "cpu", dtype = "bf16" }), 2e-2)
end
