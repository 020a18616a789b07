-- SPDX-License-Identifier: Apache-2.0
-- RestoreKV spends part of KVzip's budget on restore tokens: trained embeddings that read the whole cache once through
-- LoRA-adapted weights, and whose keys and values stay in every head. The cache that this leaves is longer than the
-- context by those tokens, and so is its keep-set; a question starts behind them.
local artefact = require "kvbench.artefact"
local find = require "kvbench.press_find"
local keepset = require "kvbench.keep"
local lora = require "kvbench.lora"
local orders = require "kvbench.press_order"
local tensor = require "kvbench.tensor"

local kvzip = find.find "kvzip"

local function embeddings_of(self, ctx)
  local plus = self.kvzip_plus_normalization and "_plus" or ""
  local path = artefact.find(self, ctx, { file = "restore_embeddings.safetensors", what = "restore embeddings",
    how = "published for Llama-3.1-8B-Instruct and Qwen3-8B: higokri/RestoreKV-MODEL" .. plus .. " on Hugging Face" })
  local hidden = ctx.model and ctx.model.hidden or -1
  local read = artefact.tensors(self, path, { restore_embeddings = { -1, hidden } })
  return read.restore_embeddings, path:match "^(.*)/" or "."
end

-- The context with its restore tokens behind it.
local function restored(self, ctx)
  local x, folder = embeddings_of(self, ctx)
  if not ctx.model or ctx.model.sliding then
    error(("press '%s': restore tokens cannot be read by %s -> kvzip"):format(self.name,
      ctx.model and "a model with sliding windows" or "a context without a model"), 0)
  end
  local adapter = lora.open(self, folder)
  local ok, keys, values = pcall(adapter.read, adapter, ctx, x)
  adapter:close()
  if not ok then error(keys, 0) end
  local places = {}
  for i = 1, x:size(1) do places[i] = ctx.ids[ctx.tokens] end -- what stands there is replaced
  local longer = ctx:read_on(places)
  local out = longer:variant { keys = tensor.cat({ ctx.keys, keys }, 3), values = tensor.cat({ ctx.values, values },
    3) }
  longer:close()
  return out, x:size(1)
end

local params = { path = { kind = "string", optional = true,
  doc = "restore_embeddings.safetensors with the PEFT adapter beside it, or their folder" } }
for name, declaration in pairs(kvzip.params) do params[name] = declaration end

return {
  name = "restorekv",
  paper = "arXiv:2608.01247",
  doc = "KVzip with a part of its budget for trained restore tokens, which read the whole cache before anything is "
    .. "evicted.",
  formula = "as kvzip; of N cells, N r + (restore tokens in every head) are evicted",
  extends = "kvzip",
  params = params,
  aliases = { RestoreKV = {}, restorekv_plus = { kvzip_plus_normalization = true },
    RestoreKV_plus = { kvzip_plus_normalization = true } },
  extra_pass = kvzip.extra_pass .. ", and the restore tokens once",
  scope = kvzip.scope,
  whole = true,
  budget = "approx",
  decides = true,
  score = kvzip.score,
  order = function(self, order, ctx, ratio)
    local cache, count = restored(self, ctx)
    -- protected like tokens outside of the evictable ones: sinks may be more than the budget
    local scores = orders.scores(self, ctx, ratio, order.evictable):pad(0, count, 0)
    order.cache, order.tokens, order.restored = cache, ctx.tokens + count, count
    order.scores = orders.protect(scores, order.evictable, 0)
  end,
  cut = function(self, order, ratio)
    local open = order.evictable[2] - order.evictable[1]
    local cells = self.layerwise and order.kv_heads or order.layers * order.kv_heads
    local evicted = math.floor(cells * open * math.min(1, ratio + order.restored / open))
    local keep = keepset.from_ranks(order:rank(self.scope), cells * order.tokens - evicted)
    keep.cache, keep.position = order.cache, order.tokens
    return keep
  end,
}
