-- SPDX-License-Identifier: Apache-2.0
-- The child of --sandbox (kvbench --sandbox-child, started by sandbox.lua): gives up everything, then loads a foreign
-- press and answers requests until its parent is gone. One request: u64 size, JSON, then the tensors' f32 values; one
-- answer: u64 size, JSON, then u64 size and the score's values.
--
-- Compiled code is off: it cannot be made without executable memory, which the process no longer gets.
local ffi = require "ffi"
local env = require "kvbench.sandbox_env"
local fit = require "kvbench.press_fit"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local limits = require("kvbench.sandbox").limits
local tensor = require "kvbench.tensor"
local C = library.C

require "kvbench.text"
require "kvbench.ratios"

local M = {}

local function read(bytes)
  local buffer = ffi.new("char[?]", math.max(bytes, 1))
  library.check(C.kvb_sandbox_read(buffer, bytes))
  return ffi.string(buffer, bytes)
end

local function read_size()
  local size = ffi.new "uint64_t[1]"
  library.check(C.kvb_sandbox_read(size, 8))
  return tonumber(size[0])
end

local function answer(value, score)
  local ok, text = pcall(json.encode, value)
  if not ok then text, score = json.encode { error = "what the file declares is not plain data" }, nil end
  library.check(C.kvb_sandbox_write(ffi.new("uint64_t[1]", #text), 8))
  library.check(C.kvb_sandbox_write(text, #text))
  if not score then return end
  local bytes = score:numel() * 4
  library.check(C.kvb_sandbox_write(ffi.new("uint64_t[1]", bytes), 8))
  library.check(C.kvb_sandbox_write(score.data, bytes))
end

-- ---- loading ----

local KEYS = { "name", "doc", "paper", "scope", "budget", "nested", "ratio_dependent", "whole", "needs", "params",
  "aliases" }
local impossible = { "cut", "order", "thresholds", "rewrite", "decoding", "merge", "extends", "check" }

-- Plain data of what foreign code declares: no functions, no cycles, no more than a little.
local function data(value, depth)
  if type(value) == "table" then
    if depth > 4 then error("declared too deep", 0) end
    local out, n = {}, 0
    for k, v in next, value do
      n = n + 1
      if n > 200 then error("too much is declared", 0) end
      out[k] = data(v, depth + 1)
    end
    return out
  end
  if value == math.huge or value == -math.huge or value ~= value then return nil end
  if type(value) == "function" or type(value) == "userdata" then
    error("a " .. type(value) .. " is declared where the sandbox takes data only", 0)
  end
  return value
end

local function load_rule(request)
  local rule = env.load(request.text, tostring(request.path))()
  if type(rule) ~= "table" then error("the file returns no table", 0) end
  if type(rawget(rule, "score")) ~= "function" then error("score is no function", 0) end
  for _, name in ipairs(impossible) do
    if rawget(rule, name) ~= nil then error(("'%s' does not run in the sandbox: only score does"):format(name), 0) end
  end
  local about = {}
  for _, name in ipairs(KEYS) do about[name] = data(rawget(rule, name), 1) end
  return rule, about
end

-- ---- scoring ----

local function read_tensors(list)
  local out = {}
  for _, t in ipairs(list) do
    local x = tensor.zeros(t.shape)
    library.check(C.kvb_sandbox_read(x.data, x:numel() * 4))
    out[t.name] = x
  end
  return out
end

-- Which tokens of the scored context a table that foreign code holds stands for: {from, to}.
local range_of = setmetatable({}, { __mode = "k" })

local function context_of(sizes, tensors, first)
  local ctx = { device = "cpu" }
  range_of[ctx] = { first, first + sizes.tokens }
  for name, value in pairs(sizes) do ctx[name] = value end
  for name, t in pairs(tensors) do ctx[name] = env.wrap(t) end
  local made = {}
  function ctx.once(_, key, fn)
    if made[key] == nil then made[key] = fn() end
    return made[key]
  end
  function ctx.select(_, from, to)
    if type(from) ~= "number" or type(to) ~= "number" or not (from >= 0 and to <= sizes.tokens and from < to) then
      error("ctx:select: outside the context", 0)
    end
    local part, inner = {}, {}
    for name, value in pairs(sizes) do inner[name] = value end
    inner.tokens, inner.parent_tokens = to - from, sizes.parent_tokens or sizes.tokens
    inner.token_first = (sizes.token_first or 0) + from
    for name, t in pairs(tensors) do part[name] = t:narrow(name == "hidden" and 2 or 3, from + 1, to - from) end
    return context_of(inner, part, first + from)
  end
  for _, name in ipairs { "rope", "weight", "read_on", "encode", "generate" } do
    ctx[name] = function() error(("ctx:%s needs the model, which the sandbox does not have"):format(name), 0) end
  end
  return ctx
end

-- A press that is a parameter: its scores of a context, or of what ctx:select gave, come from the parent.
local function inner_press(name, label)
  local press = { name = label }
  function press.label() return label end
  function press.score(_, ctx, ratio)
    local range = range_of[ctx]
    if not range then error(("%s:score wants the context"):format(name), 0) end
    answer { call = name, from = range[1], to = range[2], ratio = type(ratio) == "number" and ratio or nil }
    local reply = json.decode(read(read_size()))
    if reply.error then error(reply.error, 0) end
    return env.wrap(read_tensors({ { name = "score", shape = reply.shape } }).score)
  end
  return press
end

local function score(rule, request)
  local tensors = read_tensors(request.tensors)
  local notes, self = {}, { params = request.params }
  for name, label in pairs(request.presses or {}) do request.params[name] = inner_press(name, label) end
  for name, value in pairs(request.params) do self[name] = value end
  function self.note(_, text) if #notes < 8 then notes[#notes + 1] = tostring(text):sub(1, 200) end end
  self.at_most, self.last_of = fit.at_most, fit.last_of
  local sizes = request.ctx
  return function()
    local made = rule.score(self, context_of(sizes, tensors, 0), request.ratio)
    if type(made) ~= "userdata" then error("score returned no tensor", 0) end
    made = env.unwrap(made)
    local shape = made:size()
    if #shape ~= 3 or shape[1] ~= sizes.layers or shape[2] ~= sizes.kv_heads or shape[3] ~= sizes.tokens then
      error(("score has shape %s, expected [layers %d, kv_heads %d, tokens %d]"):format(tensor.show(made), sizes.layers,
        sizes.kv_heads, sizes.tokens), 0)
    end
    return made:to("f32"):contiguous(), notes
  end
end

-- ---- the loop ----

local function text_of(problem) return type(problem) == "string" and problem:sub(1, 1000) or "failed without a text" end

--- Never returns while the parent lives.
function M.main()
  json.decode(json.encode { warm = true }) -- whatever loads or maps at first use does it now
  local warm = tensor.ones(2, 2):matmul(tensor.ones(2, 2)) + 1
  pcall(warm.view, warm, "x")
  library.check(C.kvb_threads_set(1))
  jit.off()
  jit.flush()
  env.close_doors()
  library.check(C.kvb_sandbox_lock(limits.bytes, limits.cpu_seconds))
  local rule
  while true do
    local size = read_size()
    if size > limits.message then return 1 end
    local request = json.decode(read(size))
    if request.load then
      request.text = read(request.load)
      local ok, made, about = pcall(load_rule, request)
      rule = ok and made or nil
      answer(ok and about or { error = text_of(made) })
    else
      local attempt = score(rule, request)
      local ok, made, notes = pcall(attempt)
      answer(ok and { notes = setmetatable(notes, json.array) } or { error = text_of(made) }, ok and made or nil)
    end
    collectgarbage()
  end
end

return M
