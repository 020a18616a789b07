-- SPDX-License-Identifier: Apache-2.0
-- What a context can be asked, one question at a time: an answer, logits, the probability of a gold answer. For many at
-- once there is the batch (batch.lua).
local given = require "kvbench.given"
local keepset = require "kvbench.keep"
local teacher = require "kvbench.teacher"

local common = { keep = true, position = true, temperature = true, patch = true }
local function with(...)
  local known = {}
  for name in pairs(common) do known[name] = true end
  for _, name in ipairs { ... } do known[name] = true end
  return known
end
local takes = { generate = with("max_new_tokens", "ignore_stop", "hidden"), hidden_of = with("layers", "rows"),
  logits = common, logprob = with "kl" }

-- The options of a call; a keep-set in their place would mean the whole cache and is an error.
local function options(call, opts)
  if keepset.is(opts) then error(("ctx:%s: options are a table, got a KeepSet -> {keep = keep}"):format(call), 0) end
  return given.options("ctx:" .. call, opts, takes[call])
end

return function(Context)
  --- Appends text (or ids) and decodes greedily. opts: keep (KeepSet), max_new_tokens (24), position (of the first
  --- appended token, default: the original length), ignore_stop, and temperature, patch, hidden (trace.lua). Returns
  --- {text, ids, margins, stop = "token"|"length"} and what was recorded.
  function Context:generate(text, opts)
    opts = options("generate", opts)
    local batch = self.model:batch()
    batch:add { ctx = self, ids = self.model:ids(text), keep = opts.keep, position = opts.position,
      max_new_tokens = opts.max_new_tokens or 24, ignore_stop = opts.ignore_stop, temperature = opts.temperature,
      patch = opts.patch, hidden = opts.hidden }
    local result = batch:run()[1]
    batch:close()
    if self.model.tokenizer then result.text = self.model.tokenizer:decode(result.ids, { skip_special = true }) end
    return result
  end

  --- Hidden states [layers, rows, hidden] of `text` (or ids) behind the context, without decoding. opts: layers, rows
  --- (see trace.lua; default: every layer at the last row), keep, position, temperature, patch.
  function Context:hidden_of(text, opts)
    opts = options("hidden_of", opts)
    local batch = self.model:batch()
    batch:add { ctx = self, ids = self.model:ids(text), keep = opts.keep, position = opts.position, max_new_tokens = 0,
      temperature = opts.temperature, patch = opts.patch, hidden = { layers = opts.layers, rows = opts.rows } }
    local result = batch:run()[1]
    batch:close()
    return result.hidden
  end

  --- Logits [n, vocab] of n appended tokens (teacher forcing). opts: keep, position, temperature, patch.
  function Context:logits(text, opts)
    opts = options("logits", opts)
    local batch = self.model:batch()
    batch:add { ctx = self, ids = self.model:ids(text), keep = opts.keep, position = opts.position,
      max_new_tokens = 0, logits = true, temperature = opts.temperature, patch = opts.patch }
    local result = batch:run()[1]
    batch:close()
    return result.logits
  end

  --- How probable `gold` (text or ids) is behind `question`, token by token (teacher forcing, no decoding). opts: keep,
  --- position, temperature, patch, kl = true (also the divergence from the full cache). Returns {total = ln p,
  --- per_token, logprob = {each token's}, kl = mean over the gold rows of KL(full || keep), kl_rows}, nats. A gold text
  --- gets a leading space unless the question is a text that ends in white space.
  function Context:logprob(question, gold, opts)
    opts = options("logprob", opts)
    if type(gold) ~= "string" and type(gold) ~= "table" then
      error("ctx:logprob: gold is " .. given.show(gold) .. " -> a text or an array of token ids", 0)
    end
    local ids = self.model:ids(question)
    local answer = type(gold) == "table" and gold
      or teacher.gold_ids(self.model, type(question) == "string" and question or "", gold)
    local function run(o)
      local request = teacher.request(ids, answer)
      request.ctx, request.keep, request.position = self, o.keep, o.position
      request.temperature, request.patch = o.temperature, o.patch
      local batch = self.model:batch()
      batch:add(request)
      local logits = batch:run()[1].logits
      batch:close()
      return teacher.score(logits, answer)
    end
    local out = run(opts)
    if opts.kl then out.kl, out.kl_rows = teacher.kl(run({}), out) end
    out.logits, out.lse = nil, nil
    return out
  end
end
