-- SPDX-License-Identifier: Apache-2.0
-- Hidden states of questions after eviction, for probes: streamed to files, one passage group at a time.
--
-- States of the passage cannot depend on the ratio (eviction follows a dense prefill), so what is pooled are the rows
-- that read the evicted cache: the question's last row, the mean of its rows, and the first answer row. Each
-- (condition, pool) has one file of f32 [items, levels, hidden]; probing reads one level of it, so memory holds a batch
-- of passages while collecting and one level of one condition while probing, whatever the dataset's size.
-- "question_only" evicts the whole passage in every head, and what follows it in the context: those tokens have read
-- the passage during the prefill and would carry it over. What a probe finds there was never read from the passage.
local evidence = require "kvbench.metric.evidence"
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local library = require "kvbench.ffi"
local presses = require "kvbench.press"
local progress = require "kvbench.progress"
local prompt = require "kvbench.prompt"
local tensor = require "kvbench.tensor"
local C, check = library.C, library.check

local M = {}
local States = {}
States.__index = States

M.pools = { "last", "mean", "answer" }

-- Conditions of one context: {name, keep}.
local function conditions_of(o, ctx, range, seed)
  local list, wanted = { { name = "full" } }, {}
  for _, ratio in ipairs(o.ratios) do if ratio > 0 then wanted[#wanted + 1] = ratio end end
  ctx.seed = seed
  for _, press in ipairs(o.presses) do
    for _, keep in ipairs(#wanted > 0 and press:keeps(ctx, wanted, { evictable = range }) or {}) do
      list[#list + 1] = { name = M.condition(press:label(), keep.ratio), keep = keep }
    end
  end
  local none = keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens)
  list[#list + 1] = { name = "question_only", keep = none:set(nil, nil, range[1], ctx.tokens, false) }
  return list
end

--- The name of a condition: "full" at ratio 0, else press and ratio.
function M.condition(press, ratio) return ratio == 0 and "full" or ("%s@%g"):format(press, ratio) end

local function path(states, condition, pool)
  return ("%s/%s.%s.f32"):format(states.folder, condition:gsub("[^%w_.@-]", "_"), pool)
end

local function file_of(states, condition, pool)
  local key = condition .. "/" .. pool
  if not states.files[key] then
    local name = path(states, condition, pool)
    local file, reason = io.open(name, "wb")
    if not file then error(("cannot write '%s': %s"):format(name, reason), 0) end
    states.files[key], states.written[#states.written + 1] = file, name
  end
  return states.files[key]
end

local function write(states, condition, pool, item, data)
  local file, bytes = file_of(states, condition, pool), #states.layers * states.hidden * 4
  local ok, reason = file:seek("set", (item - 1) * bytes)
  if ok then ok, reason = file:write(ffi.string(data, bytes)) end
  if not ok then
    error(("cannot write states to '%s': %s -> free some space, or fewer layers"):format(states.folder,
      tostring(reason)), 0)
  end
end

-- Pools one result: hidden [levels, n + 1 rows, d] -> three vectors [levels, d].
local function pool(states, result, n, item, condition, buffer)
  local h, d, levels = ffi.cast("const float *", result.hidden.data), states.hidden, #states.layers
  for l = 0, levels - 1 do
    ffi.copy(buffer.last + l * d, h + (l * (n + 1) + n - 1) * d, 4 * d)
    ffi.copy(buffer.answer + l * d, h + (l * (n + 1) + n) * d, 4 * d)
    for j = 0, d - 1 do
      local sum = 0
      for row = 0, n - 1 do sum = sum + h[(l * (n + 1) + row) * d + j] end
      buffer.mean[l * d + j] = sum / n
    end
  end
  for _, name in ipairs(M.pools) do write(states, condition, name, item, buffer[name]) end
end

local function enqueue(o, states, batch, record, ctx, rendered)
  local index = evidence.index(record, ctx.spans, { base = rendered.passage_span[1] })
  local list = conditions_of(o, ctx, index.passage, ("%s/%s"):format(o.seed, record.id))
  ctx:forget()
  for _, item in ipairs(states.of[record]) do
    local ids = o.model:ids(rendered.suffix(record.questions[item.question]))
    local rows = {}
    for row = 0, #ids do rows[row + 1] = row end
    for _, condition in ipairs(list) do
      batch:add { ctx = ctx, keep = condition.keep, ids = ids, max_new_tokens = 2, ignore_stop = true,
        hidden = { layers = states.layers, rows = rows },
        tag = { item = item.number, condition = condition.name, n = #ids } }
    end
  end
  ctx:close() -- the continuations keep it
  return list
end

--- Collects states of items {record =, question = (its number), ...}; all items of a record stand together. o: model,
--- items, presses, ratios, layers (0 = embedding ... layers = before the final norm), folder, style "fewshot",
--- idk_example true, regime "agnostic" (or "aware": the list of questions stands before the passage and stays), seed,
--- group 4, quiet.
--- Returns States: conditions (names in order), layers, n (items); states:matrix(condition, pool, level),
--- states:remove().
function M.run(o)
  local made = {}
  for i, p in ipairs(o.presses) do made[i] = presses(p) end
  if o.regime and o.regime ~= "agnostic" and o.regime ~= "aware" then
    error(("probe: states are collected in the regimes agnostic and aware, not '%s'"):format(tostring(o.regime)), 0)
  end
  o = setmetatable({ presses = made, style = o.style or "fewshot", group = o.group or 4, seed = o.seed or 1,
    regime = o.regime or "agnostic", ratios = require("kvbench.ratios").list(o.ratios) }, { __index = o })
  local states = setmetatable({ folder = o.folder, layers = o.layers, hidden = o.model.hidden, n = #o.items, of = {},
    files = {}, written = {}, conditions = nil }, States)
  check(C.kvb_dir_make(o.folder))
  local records = {}
  for i, item in ipairs(o.items) do
    item.number = i
    if not states.of[item.record] then states.of[item.record], records[#records + 1] = {}, item.record end
    table.insert(states.of[item.record], item)
  end
  local buffer, batch = {}, o.model:batch()
  for _, name in ipairs(M.pools) do buffer[name] = ffi.new("float[?]", #o.layers * states.hidden) end
  local bar = not o.quiet and progress.new { label = o.label or "states", total = #records, unit = "passages" }
  local ok, err = pcall(function()
    for first = 1, #records, o.group do
      local texts, rendered = {}, {}
      for i = first, math.min(first + o.group - 1, #records) do
        local r = prompt.render(o.style, records[i], { regime = o.regime, idk_example = o.idk_example ~= false,
          model = o.model })
        rendered[#rendered + 1], texts[#texts + 1] = r, r.context
      end
      for k, ctx in ipairs(o.model:prefill_many(texts, presses.needs(o.presses))) do
        local list = enqueue(o, states, batch, records[first + k - 1], ctx, rendered[k])
        if not states.conditions then
          states.conditions = {}
          for i, condition in ipairs(list) do states.conditions[i] = condition.name end
        end
      end
      while batch:step() > 0 do
        for result in function() return batch:next() end do
          pool(states, result, result.tag.n, result.tag.item, result.tag.condition, buffer)
        end
        if C.kvb_cancelled() ~= 0 then error("interrupted", 0) end
      end
      for result in function() return batch:next() end do
        pool(states, result, result.tag.n, result.tag.item, result.tag.condition, buffer)
      end
      if bar then bar:update(math.min(first + o.group - 1, #records)) end
    end
  end)
  batch:close()
  if bar and ok then bar:finish() end
  for _, file in pairs(states.files) do file:close() end
  states.files = {}
  if not ok then
    states:remove()
    error(err, 0)
  end
  return states
end

--- The states [items, hidden] of one condition, pool and level (1 = the first of .layers), f32.
function States:matrix(condition, pool_name, level)
  local name, d = path(self, condition, pool_name), self.hidden
  local file, reason = io.open(name, "rb")
  if not file then error(("cannot read '%s': %s -> collect the states again"):format(name, reason), 0) end
  local out = tensor.zeros(self.n, d, { device = "cpu" })
  for i = 0, self.n - 1 do
    file:seek("set", ((i * #self.layers) + level - 1) * d * 4)
    local text = file:read(d * 4)
    if not text or #text ~= d * 4 then
      file:close()
      error(("'%s' ends before item %d -> collect the states again"):format(name, i + 1), 0)
    end
    ffi.copy(ffi.cast("float *", out.data) + i * d, text, d * 4)
  end
  file:close()
  return out
end

--- Deletes the files.
function States:remove()
  for _, file in pairs(self.files) do file:close() end
  for _, name in ipairs(self.written) do os.remove(name) end
  os.remove(self.folder)
  self.files, self.written = {}, {}
end

return M
