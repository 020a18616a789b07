-- SPDX-License-Identifier: Apache-2.0
-- What the engine's tests share: tiny stored models, random keep-sets, many requests at once, comparing results bit by
-- bit.
local t = require "kvbench.testing"
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local paths = require "kvbench.paths"
local rng = require "kvbench.rng"

local M = {
  families = { "llama", "llama_mha", "qwen2", "qwen3", "mistral" },
  most_new = 6, -- tokens that an answer of requests() has at most
}

function M.folder(family) return paths.at("tests/golden/models/" .. family) end

function M.draw(r, n, vocab)
  local ids = {}
  for i = 1, n do ids[i] = r:int(3, vocab - 1) end
  return ids
end

-- ---- comparing bits ----

function M.bits(x)
  local host = x:cpu():contiguous()
  return ffi.string(host.data, x:numel() * 4)
end

function M.same_bits(a, b, what)
  t.ok(M.bits(a) == M.bits(b), (what or "logits") .. " differ in their bits")
end

function M.same_answer(a, b, what)
  t.eq(a.ids, b.ids, what)
  t.eq(a.margins, b.margins, what)
  t.eq(a.stop, b.stop, what)
  if a.logits or b.logits then M.same_bits(a.logits, b.logits, what) end
end

-- The largest difference relative to the largest value.
function M.distance(a, b)
  a, b = a:cpu():contiguous(), b:cpu():contiguous()
  local x, y = ffi.cast("float *", a.data), ffi.cast("float *", b.data)
  local worst, largest = 0, 1e-30
  for i = 0, a:size(1) * a:size(2) - 1 do
    local d = math.abs(x[i] - y[i])
    if not (d <= worst) then worst = d end
    largest = math.max(largest, math.abs(y[i]))
  end
  return worst / largest
end

-- ---- things to ask ----

-- Evicts about this share of every head, but never all of it; share 1 leaves one token a head.
function M.random_keep(r, ctx, share)
  local keep = keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens)
  if share <= 0 then return keep end
  for l = 0, ctx.layers - 1 do
    for h = 0, ctx.kv_heads - 1 do
      local survivor = r:int(0, ctx.tokens - 1)
      for token = 0, ctx.tokens - 1 do
        if token ~= survivor and r:uniform() < share then keep:set(l, h, token, token + 1, false) end
      end
    end
  end
  return keep
end

-- One head keeps a single token, all others everything.
function M.one_token(ctx, layer, head, token)
  local keep = keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens)
  return keep:set(layer, head, 0, ctx.tokens, false):set(layer, head, token, token + 1, true)
end

-- Requests over several contexts: with and without keep-sets, 1 to 20 question tokens, different lengths of answers.
function M.requests(model, contexts, n, seed)
  local r, list = rng.new(seed), {}
  for i = 1, n do
    local ctx = contexts[r:int(1, #contexts)]
    ctx.sets = ctx.sets or { M.random_keep(r, ctx, .3), M.random_keep(r, ctx, .9), M.one_token(ctx, 0, 0, 0) }
    list[i] = { ctx = ctx, ids = M.draw(r, r:int(1, 20), model.vocab), keep = ctx.sets[r:int(0, 3)],
      max_new_tokens = r:int(1, M.most_new),
      ignore_stop = r:uniform() < .5, logits = r:uniform() < .5, tag = i }
  end
  return list
end

function M.run(model, list, opts, order)
  local batch, out = model:batch(opts), {}
  for i = 1, #list do batch:add(list[order and order[i] or i]) end
  for _, result in ipairs(batch:run()) do out[result.tag] = result end
  local rows, padded, steps = batch:rows()
  batch:close()
  return out, { rows = rows, padded = padded, steps = steps }
end

function M.one_by_one(model, list)
  local out = {}
  for i = 1, #list do out[i] = M.run(model, { list[i] })[list[i].tag] end
  return out
end

return M
