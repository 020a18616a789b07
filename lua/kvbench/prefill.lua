-- SPDX-License-Identifier: Apache-2.0
-- Prefill: texts to Contexts, and what is observed on the way. Methods that a model gains: ids, prepare, prefill,
-- prefill_many, lens and batch.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local context = require "kvbench.context"
local core = require "kvbench.tensor.core"
local given = require "kvbench.given"
local C, check = library.C, library.check

local M = {}

local known = { queries = true, window_queries = true, hidden = true, logits = true, last_logits = true }

--- Names of what prefill can observe, as keys.
M.observable = known

-- needs (a table of what presses or measures ask for) as C flags and a window.
local function observation(needs)
  if type(needs) ~= "table" and needs ~= nil then
    error(("prefill: what to observe is a table, got %s -> {queries = true}"):format(given.show(needs)), 0)
  end
  local flags, window = 0, 0
  for name, value in pairs(needs or {}) do
    if not known[name] then
      local choice = "queries, window_queries, hidden, logits, last_logits, as in {queries = true}"
      error(("prefill cannot observe %s -> %s"):format(given.show(name == 1 and value or name), choice), 0)
    end
    if value and name == "window_queries" then
      window = given.whole("prefill", "window_queries (queries kept, counted from the end)", value, 0)
    end
  end
  needs = needs or {}
  if needs.queries or needs.window_queries then flags = flags + C.KVB_OBSERVE_QUERIES end
  if needs.queries then window = 0 end
  if needs.hidden then flags = flags + C.KVB_OBSERVE_HIDDEN end
  if needs.logits then
    flags = flags + C.KVB_OBSERVE_LOGITS
  elseif needs.last_logits then
    flags = flags + C.KVB_OBSERVE_LAST_LOGITS
  end
  return flags, window
end

--- Adds ids, prefill, prefill_many and batch to the Model class.
function M.extend(Model)
  --- Token ids of a text (special tokens written out become their ids), or the ids themselves. No BOS is added.
  function Model:ids(text)
    if type(text) == "table" then return text end
    if type(text) ~= "string" then error("expected a text or an array of token ids, got " .. given.show(text), 0) end
    if not self.tokenizer then
      error("model '" .. self.name .. "' has no tokenizer -> give token ids instead of text", 0)
    end
    return (self.tokenizer:encode(text))
  end

  -- ids and byte spans of a whole context: BOS in front where the tokenizer's own configuration adds one.
  local function context_ids(model, text)
    if type(text) ~= "string" then return given.ids("prefill", model:ids(text)) end
    model:ids ""
    local ids, spans = model.tokenizer:encode(text)
    local bos = model.tokenizer.add_bos and model.tokenizer.bos_id
    if bos and ids[1] ~= bos then
      table.insert(ids, 1, bos)
      table.insert(spans, 1, { 0, 0 })
    end
    return ids, spans
  end

  --- A context's text as prefill takes it: {ids =, spans = byte range of each token, text =}.
  function Model:prepare(text)
    local ids, spans = context_ids(self, text)
    return { ids = ids, spans = spans, text = type(text) == "string" and text or nil }
  end

  --- Contexts of many passages (texts, id arrays, or what prepare gave), prefilled in packed steps. needs: what to
  --- observe ({queries = true}, {window_queries = n}, {hidden = true}, {logits = true}, {last_logits = true}).
  --- opts.from: a context that all passages begin with; its tokens are copied instead of computed, with the same bits.
  function Model:prefill_many(texts, needs, opts)
    local flags, window = observation(needs)
    local base = given.options("prefill", opts, { from = true }).from
    if base ~= nil and not context.is(base) then
      error(("prefill: from is %s -> a context that every passage begins with"):format(given.show(base)), 0)
    end
    if type(texts) ~= "table" then
      error(("model:prefill_many: expected a list of passages, got %s -> model:prefill(text) takes one"):format(
        given.show(texts)), 0)
    end
    local all, lengths, kept = {}, ffi.new("int32_t[?]", math.max(#texts, 1)), {}
    for i, text in ipairs(texts) do
      kept[i] = type(text) == "table" and text.ids and text or self:prepare(text)
      local ids = kept[i].ids
      lengths[i - 1] = #ids
      for j = 1, #ids do all[#all + 1] = ids[j] end
    end
    local out = ffi.new("kvb_ctx *[?]", math.max(#texts, 1))
    local flat = ffi.new("int32_t[?]", math.max(#all, 1), all)
    check(C.kvb_prefill_from(self:pointer(), base and base:pointer() or nil, base and base.tokens or 0, flat, lengths,
      #texts, flags, window, out))
    local contexts = {}
    for i = 1, #texts do contexts[i] = context.new(self, out[i - 1], kept[i]) end
    return contexts
  end

  --- The context of one passage; see prefill_many.
  function Model:prefill(text, needs)
    if text == nil then error("model:prefill: no text was given -> model:prefill(text), or an array of token ids",
      0) end
    return self:prefill_many({ text }, needs)[1]
  end

  --- Logit lens: final norm and LM head over hidden states [n, hidden] or [hidden] (of ctx:hidden_of or result.hidden):
  --- logits [n, vocab].
  function Model:lens(hidden)
    if not core.is(hidden) then
      error(("model:lens: hidden is %s -> a tensor [n, %d], as ctx:hidden_of(text) gives"):format(given.show(hidden),
        self.hidden), 0)
    end
    local rows = hidden:dim() == 1 and hidden:unsqueeze(1) or hidden
    rows = rows:cpu():contiguous()
    local logits = core.new({ rows:size(1), self.vocab }, "f32", "cpu", true)
    check(C.kvb_model_lens(self:pointer(), rows, logits))
    return logits
  end

  --- A Batch: see batch.lua.
  function Model:batch(opts) return require("kvbench.batch").new(self, opts) end
end

return M
