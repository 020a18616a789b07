-- SPDX-License-Identifier: Apache-2.0
-- What `kvbench press check` runs on a press: the promises of the contract on contexts without a model, its likeness to
-- the known rules, what it costs, and a small safety cliff on a real model.
local core = require "kvbench.tensor.core"
local fake = require "kvbench.fake_context"
local library = require "kvbench.ffi"
local order = require "kvbench.press_order"
local presses = require "kvbench.press"
local ratios = require "kvbench.ratios"
local view = require "kvbench.press_view"
local C = library.C

local M = {}

local GRID = { 0.1, 0.35, 0.5, 0.8, 0.97 }
-- layers, query heads, KV heads, tokens, head_dim: shared heads and not, even and odd sizes
local SHAPES = { { 3, 6, 3, 53, 8 }, { 2, 4, 1, 64, 16 }, { 1, 2, 2, 129, 8 } }

local function context(shape)
  return fake.new { layers = shape[1], heads = shape[2], kv_heads = shape[3], tokens = shape[4], head_dim = shape[5] }
end

local function fail(...) error(string.format(...), 0) end

local function kept_share(keep) return keep:total() / (keep.layers * keep.kv_heads * keep.tokens) end

-- ---- the contract: each check returns a line about what it saw, or raises what is wrong ----

local checks = {}

checks[1] = { "shape, NaN", function(press)
  for _, shape in ipairs(SHAPES) do press:keep(context(shape), 0.5) end
  return ("%d shapes, up to %d query heads per KV head"):format(#SHAPES, 4)
end }

checks[2] = { "determinism", function(press)
  local ctx = context(SHAPES[1])
  for _, ratio in ipairs(GRID) do
    if press:keep(ctx, ratio):hash() ~= press:keep(ctx, ratio):hash() then
      fail("two calls at ratio %g keep different tokens -> draw from tensor.rand(shape, ctx.seed), not math.random",
        ratio)
    end
  end
  return "the same set twice, at every ratio"
end }

checks[3] = { "nesting", function(press)
  if not press.nested then return "not declared" end
  for _, shape in ipairs(SHAPES) do
    local sets = press:keeps(context(shape), GRID)
    for i = 2, #sets do
      if sets[i]:overlap(sets[i - 1]) ~= sets[i]:total() then
        fail("ratio %g keeps tokens that ratio %g evicts -> nested = false, if that is meant", GRID[i], GRID[i - 1])
      end
    end
  end
  return "a larger ratio keeps a subset"
end }

checks[4] = { "budget", function(press)
  local worst = 0
  if press.budget == "own" then return "its own, whatever the ratio" end
  for _, shape in ipairs(SHAPES) do
    for i, keep in ipairs(press:keeps(context(shape), GRID)) do
      local wanted = ratios.n_kept(shape[4], GRID[i])
      if press.budget == "exact" and keep:total() ~= wanted * shape[1] * shape[3] then
        fail("ratio %g of %d tokens keeps %d in %d heads, expected %d each -> budget = \"approx\", if that is meant",
          GRID[i],
          shape[4], keep:total(), shape[1] * shape[3], wanted)
      end
      worst = math.max(worst, math.abs(1 - GRID[i] - kept_share(keep)))
    end
  end
  return ("%s; at most %.0f %% away from the ratio"):format(press.budget, 100 * worst)
end }

checks[5] = { "protected tokens", function(press)
  local ctx = context(SHAPES[1])
  for _, ratio in ipairs(GRID) do
    local keep = press:keep(ctx, ratio, { evictable = { 10, 40 } })
    for l = 0, ctx.layers - 1 do
      for h = 0, ctx.kv_heads - 1 do
        if keep:count(l, h, 0, 10) ~= 10 or keep:count(l, h, 40, ctx.tokens) ~= ctx.tokens - 40 then
          fail("layer %d, head %d evicts tokens outside of the evictable ones at ratio %g", l, h, ratio)
        end
      end
    end
  end
  return "tokens outside the passage stay"
end }

checks[6] = { "batch invariance", function(press)
  if press.whole or not press.rule.score then return "it sees the whole model at once" end
  local ctx = context { 6, 4, 2, 41, 8 }
  local shared = view.shared(ctx)
  local all = order.checked_score(press, view.block(ctx, 1, 6, shared), 0.5)
  for l = 1, 6 do
    local one = order.checked_score(press, view.block(ctx, l, 1, shared), 0.5)
    local off = (one:ne(all:narrow(1, l, 1))):max()
    if off ~= 0 then
      fail("layer %d alone gets other scores than among 6 layers -> compute along dimension 1 only per layer, or scope "
        .. "= "
        .. "\"model\"", l - 1)
    end
  end
  return "a layer alone and among others: the same bits"
end }

checks[7] = { "short contexts", function(press)
  for n = 1, 70 do
    local ok, why = pcall(function()
      for _, keep in ipairs(press:keeps(context { 1, 2, 1, n, 4 }, { 0.5, 0.95 })) do
        if keep:total() < 1 then fail("an empty set") end
      end
    end)
    if not ok then fail("%d tokens: %s", n, why) end
  end
  return "1 to 70 tokens"
end }

--- {name =, ok =, text =} for every check of the contract.
function M.contract(press)
  local out = {}
  for i, check in ipairs(checks) do
    local ok, text = pcall(check[2], press)
    out[i] = { name = check[1], ok = ok, text = tostring(text) }
    if i == 1 and not ok then break end -- a rule that does not run at all fails everywhere
  end
  return out
end

-- ---- on a model ----

--- The plain rules and wrappers that a press is compared with: those that load and need nothing else.
function M.peers()
  local list = {}
  for _, name in ipairs { "ea", "adakv", "snapkv", "tova", "knorm", "keydiff", "h2o", "lagkv", "streaming_llm",
    "random" } do
    local ok, press = pcall(presses, name)
    if ok then list[#list + 1] = press end
  end
  return list
end

--- Jaccard of the press's keep-sets with each peer's, mean over contexts, most alike first: {label, at[ratio]}.
function M.compare(press, contexts, list)
  local out = {}
  for _, peer in ipairs(M.peers()) do
    local row = { label = peer:label(), mean = 0 }
    for i, ratio in ipairs(list) do
      local sum = 0
      for _, ctx in ipairs(contexts) do sum = sum + press:keep(ctx, ratio):jaccard(peer:keep(ctx, ratio)) end
      row[i] = sum / #contexts
      row.mean = row.mean + row[i] / #list
    end
    out[#out + 1] = row
  end
  table.sort(out, function(a, b) return a.mean > b.mean or a.mean == b.mean and a.label < b.label end)
  return out
end

--- What nine ratios cost on a context: milliseconds per 1,000 tokens, and tensor operations launched.
function M.cost(press, ctx)
  local launches, run, nine = 0, core.run, { .1, .2, .3, .4, .5, .6, .7, .8, .9 }
  press:keeps(ctx, nine) -- warm: keys and queries are copied out of the cache once
  core.run = function(...)
    launches = launches + 1
    return run(...)
  end
  local started = C.kvb_time()
  local ok, why = pcall(press.keeps, press, ctx, nine)
  local seconds = C.kvb_time() - started
  core.run = run
  if not ok then error(why, 0) end
  return 1e6 * seconds / ctx.tokens, launches
end

--- A safety cliff of a few passages: for the press and two others, {label, [ratio] = {f1 =, hallucination =}}.
function M.cliff(press, model, passages, list)
  local sweep = require "kvbench.sweep"
  local run = sweep.run {
    model = model, dataset = require("kvbench.dataset")("base", { size = passages, seed = "A" }),
    presses = { press, press.name ~= "ea" and "ea" or nil, press.name ~= "random_sinks" and "random_sinks" or nil },
    ratios = list, quiet = true,
  }
  local out = {}
  for i, label in ipairs(run.presses) do
    local row = { label = label }
    for _, ratio in ipairs(list) do
      local n, f1, wrong = 0, 0, 0
      for _, r in ipairs(run:press_rows(label)) do
        if r.ratio == ratio and r.answerable then n, f1, wrong = n + 1, f1 + r.word_f1, wrong + (r.hallucination
          or 0) end
      end
      row[ratio] = n > 0 and { f1 = f1 / n, hallucination = wrong / n, n = n } or nil
    end
    out[i] = row
  end
  return out, run.seconds
end

return M
