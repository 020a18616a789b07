-- SPDX-License-Identifier: Apache-2.0
-- Which tokens a question's answer rests on, and which ones serve as its control.
--
-- Byte spans come from the generator's provenance and become token sets through the tokenizer's offsets: a token
-- belongs to a span when it overlaps it. Nothing is searched for in the text. The placebo repeats the answer's shape
-- (as many windows, as long) on other facts' values and elsewhere in the passage; it depends on the seed and the
-- question alone, so it is the same for every press and ratio.
local rng = require "kvbench.rng"
local eviction = require "kvbench.metric.eviction"
local decomposition = require "kvbench.metric.decomposition"

local M = {}

--- Token positions (0-based, ascending, unique) that overlap any of the byte spans. offsets = the tokenizer's array
--- of {from, to} bytes per token; base is added to the spans (the passage's first byte in the tokenized text).
--- Tokens and spans of no bytes never overlap.
function M.tokens_of(offsets, spans, base)
  base = base or 0
  local out = {}
  for i, o in ipairs(offsets) do
    for _, s in ipairs(spans) do
      if o[1] < o[2] and s[1] < s[2] and o[1] < s[2] + base and o[2] > s[1] + base then
        out[#out + 1] = i - 1
        break
      end
    end
  end
  return out
end

local function range_of(tokens)
  if #tokens == 0 then return nil end
  return { tokens[1], tokens[#tokens] + 1 }
end

--- Reads a record's spans once per tokenized context. opt: base = first byte of the passage in the context (default
--- 0), sinks = leading positions of the context that count as sinks (default 4).
--- Returns {record, offsets, base, sinks, passage = {from, to} tokens, x = X without sinks (positions), facts = {[id] =
--- {{value = {from, to}, binding = positions}...}}}.
function M.index(record, offsets, opt)
  local base, sinks = opt and opt.base or 0, opt and opt.sinks or 4
  local passage = range_of(M.tokens_of(offsets, { { 0, #record.passage } }, base))
  if not passage then
    error(string.format("evidence.index: passage '%s' overlaps none of the %d tokens -> base = %d must be "
      .. "the passage's first byte in the tokenized text", tostring(record.id), #offsets, base), 0)
  end
  local index = { record = record, offsets = offsets, base = base, sinks = sinks, passage = passage, x = {},
    facts = {}, known = {}, placebos = {} }
  for t = math.max(passage[1], sinks), passage[2] - 1 do index.x[#index.x + 1] = t end
  for _, fact in ipairs(record.facts or {}) do
    local mentions = {}
    for _, m in ipairs(fact.mentions or {}) do
      mentions[#mentions + 1] = {
        value = m.value and range_of(M.tokens_of(offsets, { m.value }, base)),
        binding = M.tokens_of(offsets, m.binding or {}, base),
      }
    end
    index.facts[fact.id] = mentions
  end
  return index
end

local function sorted(set)
  local out = {}
  for t in pairs(set) do out[#out + 1] = t end
  table.sort(out)
  return out
end

local PRONOUN = { he = true, she = true, him = true, her = true, his = true, hers = true }

-- Tokens that carry a person's gender: the values of facts about it and those of their binding spans that are pronouns.
local function gender_tokens(index)
  local spans = {}
  for _, fact in ipairs(index.record.facts or {}) do
    for _, m in ipairs(fact.relation == "gender" and fact.mentions or {}) do
      if m.value then spans[#spans + 1] = m.value end
      for _, b in ipairs(m.binding or {}) do
        if PRONOUN[index.record.passage:sub(b[1] + 1, b[2]):lower()] then spans[#spans + 1] = b end
      end
    end
  end
  return M.tokens_of(index.offsets, spans, index.base)
end

local function mentions_of(index, question, id)
  return index.facts[id] or error(string.format("evidence.of: question '%s' names fact '%s', which record '%s' does "
    .. "not have", tostring(question.q), tostring(id), tostring(index.record.id)), 0)
end

--- The evidence of one question (computed once per index and question; do not write):
---   answer   T_ans, the value tokens of its facts (nil when unanswerable or without provenance: GER is undefined,
---     not 0)
---   mentions {from, to} token ranges of whole values, in text order
---   binding  B: binding tokens of its facts, values and bindings of the facts it cites (cue_ids) or
---     whose links it follows (bridge_ids), without T_ans
---   lure     for unanswerable questions the tokens of the tempting value (Lambda)
---   gender   D, gender-bearing tokens of the passage (empty where no fact is about gender)
function M.of(index, question)
  if index.known[question] then return index.known[question] end
  local value, binding, mentions = {}, {}, {}
  for _, id in ipairs(question.fact_ids or {}) do
    for _, m in ipairs(mentions_of(index, question, id)) do
      if m.value then
        mentions[#mentions + 1] = m.value
        for t = m.value[1], m.value[2] - 1 do value[t] = true end
      end
      for _, t in ipairs(m.binding) do binding[t] = true end
    end
  end
  for _, list in ipairs { question.cue_ids or {}, question.bridge_ids or {} } do
    for _, id in ipairs(list) do
      for _, m in ipairs(mentions_of(index, question, id)) do
        if m.value then for t = m.value[1], m.value[2] - 1 do binding[t] = true end end
        for _, t in ipairs(m.binding) do binding[t] = true end
      end
    end
  end
  for t in pairs(value) do binding[t] = nil end
  table.sort(mentions, function(a, b) return a[1] < b[1] end)
  index.gender = index.gender or gender_tokens(index)
  local tokens = sorted(value)
  if #tokens == 0 then tokens = nil end
  local answerable = question.answerable ~= false
  local e = { answer = answerable and tokens or nil, lure = not answerable and tokens or nil, mentions = mentions,
    binding = sorted(binding), gender = index.gender }
  index.known[question] = e
  return e
end

-- Feasible starts of a window of k tokens around a candidate range: inside it when it is longer, covering it when it
-- is shorter.
local function starts_around(range, k, passage, taken)
  local out = {}
  local first, last = math.min(range[1], range[2] - k), math.max(range[1], range[2] - k)
  for s = math.max(first, passage[1]), math.min(last, passage[2] - k) do
    local free = true
    for t = s, s + k - 1 do free = free and not taken[t] end
    if free then out[#out + 1] = s end
  end
  return out
end

local function take(set, taken, s, k)
  for t = s, s + k - 1 do set[t], taken[t] = true, true end
end

-- One draw: a window per answer mention; nil when some mention finds no room, so that every draw is length-matched.
local function draw(r, lengths, ranges, passage, forbidden)
  local taken, set = {}, {}
  for t in pairs(forbidden) do taken[t] = true end
  for _, k in ipairs(lengths) do
    local feasible = {}
    for _, range in ipairs(ranges) do
      local starts = starts_around(range, k, passage, taken)
      if #starts > 0 then feasible[#feasible + 1] = starts end
    end
    if #feasible == 0 then return nil end
    take(set, taken, r:choice(r:choice(feasible)), k)
  end
  return sorted(set)
end

--- Placebo token sets of a question: { facts = {set...}, windows = {set...} }, each a list of at most opt.draws
--- (default 8) sets of exactly the answer's window lengths. `facts` windows cover other facts' values, `windows` lie
--- anywhere in the passage; none touches T_ans, B or the sinks. A list is empty where the passage has no room. nil
--- when the question has no T_ans.
--- opt.seed (default "placebo") and the question decide the draw; the default draw is kept in the index.
function M.placebo(index, question, opt)
  if not opt and index.placebos[question] then return index.placebos[question] end
  local e = M.of(index, question)
  if not e.answer then return nil end
  local forbidden, lengths, own = {}, {}, {}
  for t = 0, index.sinks - 1 do forbidden[t] = true end
  for _, t in ipairs(e.answer) do forbidden[t] = true end
  for _, t in ipairs(e.binding) do forbidden[t] = true end
  for _, m in ipairs(e.mentions) do lengths[#lengths + 1] = m[2] - m[1] end
  for _, id in ipairs(question.fact_ids) do own[id] = true end
  local values = {}
  for _, fact in ipairs(index.record.facts) do
    if not own[fact.id] then
      for _, m in ipairs(index.facts[fact.id]) do if m.value then values[#values + 1] = m.value end end
    end
  end
  local r = rng.new(opt and opt.seed or "placebo"):fork(tostring(index.record.id) .. "/" .. question.q)
  local out = { facts = {}, windows = {} }
  for _ = 1, opt and opt.draws or 8 do
    out.facts[#out.facts + 1] = draw(r, lengths, values, index.passage, forbidden)
    out.windows[#out.windows + 1] = draw(r, lengths, { index.passage }, index.passage, forbidden)
  end
  if not opt then index.placebos[question] = out end
  return out
end

--- Mean eviction over placebo sets: {model, layer, frac, draws}, or nil without sets.
function M.placebo_ger(view, sets)
  if not sets or #sets == 0 then return nil end
  local sum = { model = 0, layer = 0, frac = 0 }
  for _, set in ipairs(sets) do
    local g = eviction.ger(view, set)
    for k in pairs(sum) do sum[k] = sum[k] + g[k] end
  end
  for k in pairs(sum) do sum[k] = sum[k] / #sets end
  sum.draws = #sets
  return sum
end

--- Columns of a passage and keep-set, the same for all its questions: effective_ratio, eviction_rate (+ _layer),
--- null_model, null_layer, k_eff_x (over X without sinks).
function M.passage_columns(view, index)
  local g, null = eviction.ger(view, index.x), eviction.independent_null(view, index.x)
  if not g then return {} end
  return { effective_ratio = g.frac, eviction_rate = g.model, eviction_rate_layer = g.layer, null_model = null.model,
    null_layer = null.layer, k_eff_x = eviction.k_eff(g.model, null.evicted_share) }
end

--- Columns of one question under a keep-set: ger_{model,layer,frac} over T_ans, the same with the suffixes _binding,
--- _placebo (other facts' values), _window, _lure and _gender; e_all, e_any, span_survival, and evidence
--- (decomposition.evidence_class). opt: placebo = a result of M.placebo instead of the default draw, degenerate = the
--- answer collapsed. Columns that are undefined are absent.
function M.columns(view, index, question, opt)
  local e, out = M.of(index, question), {}
  local function put(suffix, g)
    if not g then return end
    for _, k in ipairs { "model", "layer", "frac" } do out["ger_" .. k .. suffix] = g[k] end
  end
  local g = eviction.ger(view, e.answer)
  put("", g)
  put("_binding", eviction.ger(view, e.binding))
  put("_lure", eviction.ger(view, e.lure))
  put("_gender", eviction.ger(view, e.gender))
  if g then
    local placebo = opt and opt.placebo or M.placebo(index, question)
    put("_placebo", M.placebo_ger(view, placebo.facts))
    put("_window", M.placebo_ger(view, placebo.windows))
    out.e_all, out.e_any, out.span_survival = g.all, g.any, eviction.span_survival(view, e.mentions)
  end
  out.evidence = decomposition.evidence_class(view, { answer = e.answer, binding = e.binding,
    degenerate = opt and opt.degenerate })
  return out
end

return M
