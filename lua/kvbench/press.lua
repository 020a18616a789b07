-- SPDX-License-Identifier: Apache-2.0
-- kv.press(rule[, parameters]): a rule that scores cached tokens, made into something that decides what is kept.
--
--   kv.press("snapkv", {window_size = 16})   by name (a file of lua/kvbench/press or ./press, or an alias)
--   kv.press("my/rule.lua")                  by path
--   kv.press{name = "mine", score = function(self, ctx) return -ctx.keys:norm(-1) end}
--
-- A press has .name, .doc, .paper, .params (resolved; also as fields), .needs (what prefill must observe), .scope,
-- .nested, .budget, .ratio_dependent, .whole (every layer at once), .source_hash. docs/press.md shows how to write one.
local find = require "kvbench.press_find"
local fit = require "kvbench.press_fit"
local keepset = require "kvbench.keep"
local layer_part = require "kvbench.layer_part"
local order = require "kvbench.press_order"
local params = require "kvbench.press_params"
local ratios = require "kvbench.ratios"
local request = require "kvbench.press_request"
local tensor = require "kvbench.tensor"
local view = require "kvbench.press_view"

local M = {}
local Press = {}
local notes -- of the decision being made, or nil

local function press_index(press, key)
  local method = Press[key]
  if method ~= nil then return method end
  return rawget(press, "rule")[key]
end
local meta = { __index = press_index, __tostring = function(press) return "press " .. press:label() end }

--- Is x a press?
function M.is(x) return getmetatable(x) == meta end

local function merge_needs(into, needs)
  for name, value in pairs(needs or {}) do
    if type(value) == "number" then
      into[name] = math.max(type(into[name]) == "number" and into[name] or 0, value)
    else
      into[name] = into[name] or value
    end
  end
  return into
end

local reserved = {}
for name in ([[name rule file params base needs scope nested budget ratio_dependent source_hash doc paper aliases
  paper_preset check cut thresholds widen_needs decides order_only whole rewrite from_scores
  accumulates square merge fused per_question]]):gmatch "%S+" do reserved[name] = true end

local function merged(a, b)
  local out = {}
  for name, value in pairs(a or {}) do out[name] = value end
  for name, value in pairs(b) do out[name] = value end
  return out
end

local function inner_presses(press)
  local list = {}
  for _, name in ipairs(params.names(press.rule)) do
    local value = press.params[name]
    if M.is(value) then list[#list + 1] = value end
    for _, member in ipairs(params.kind(press.rule, name) == "presses" and value or {}) do
      list[#list + 1] = member.press
    end
  end
  return list
end

local function declared(rule, name, press)
  local value = rule[name]
  if type(value) == "function" then return value(press) end
  return value
end

local DEEPEST = 8 -- presses inside presses; more can only be one that contains itself

local function build(rule, hash, file, alias, preset, given, chain)
  given = given or {}
  chain = chain and chain .. " of " .. rule.name or rule.name
  if select(2, chain:gsub(" of ", "")) >= DEEPEST then
    error(("press '%s' contains itself: %s"):format(rule.name, chain), 0)
  end
  local function inner(x) return M.new(x, nil, chain) end
  if type(given) ~= "table" then
    error(("press '%s': parameters are a table, got a %s -> {name = value}"):format(rule.name, type(given)), 0)
  end
  params.check_declared(rule)
  local press = setmetatable({ name = alias or rule.name, rule = rule, file = file }, meta)
  -- a wrapper without `of` is the paper's version of itself
  local paper = merged(rule.paper_preset, preset)
  press.params = params.resolve(rule, given, given.of == nil and paper or preset, inner)
  press.base = params.resolve(rule, {}, paper, inner, true) -- what label() need not mention
  for name, value in pairs(press.params) do
    if Press[name] or reserved[name] then error(("press '%s': a parameter may not be called '%s'"):format(rule.name,
      name), 0) end
    press[name] = value
  end
  press.needs = {}
  local hashes = { hash }
  for _, name in ipairs(type(rule.extends) == "string" and { rule.extends } or rule.extends or {}) do
    hashes[#hashes + 1] = select(2, find.find(name))
  end
  press.ratio_dependent = declared(rule, "ratio_dependent", press) or false
  press.nested = declared(rule, "nested", press)
  if press.nested == nil then press.nested = not press.ratio_dependent end
  press.scope, press.budget = declared(rule, "scope", press) or "head", declared(rule, "budget", press) or "exact"
  press.whole, press.per_question = rule.whole or press.scope == "model", rule.per_question or false
  for _, member in ipairs(inner_presses(press)) do
    merge_needs(press.needs, member.needs)
    hashes[#hashes + 1] = member.source_hash
    press.ratio_dependent = press.ratio_dependent or member.ratio_dependent
    press.nested = press.nested and member.nested
    press.whole, press.per_question = press.whole or member.whole, press.per_question or member.per_question
  end
  press.needs = merge_needs(press.needs, request.check_needs(rule.name, declared(rule, "needs", press) or {}))
  if rule.widen_needs then rule.widen_needs(press, press.needs) end
  press.decides = declared(rule, "decides", press)
  if press.decides == nil then press.decides = rule.cut ~= nil or rule.thresholds ~= nil end
  press.source_hash = find.combine(hashes)
  if rule.check then rule.check(press) end
  return press
end

local function strip(spec)
  local rest = {}
  for name, value in pairs(spec) do if name ~= "press" then rest[name] = value end end
  return rest
end

--- What kv.press(rule, given) calls: a press from a name, a file, a table, a press (returned as it is) or a spec
--- {press = "adakv", of = {press = ...}, ...}.
function M.new(rule, given, chain)
  if M.is(rule) then
    if given and next(given) then error(("press '%s' is already made -> kv.press(\"%s\", {...})"):format(rule.name,
      rule.name), 0) end
    return rule
  end
  if type(rule) == "table" and rule.press then return M.new(rule.press, strip(rule), chain) end
  if type(rule) == "table" then
    return build(find.check(rule, "given as a table"), find.hash_of_table(rule), nil, nil, {}, given, chain)
  end
  if type(rule) ~= "string" then error(("press: expected a name, a file or a table, got %s"):format(type(rule)), 0) end
  local found, hash, file, preset = find.find(rule)
  local alias = found.aliases and found.aliases[rule] and rule or nil
  return build(found, hash, file, alias, preset, given, chain)
end

--- A press from a JSON-like table {press = name, of = {...}, parameter = value}; nil and the reason when this build
--- has no such rule or parameter.
function M.from_spec(spec)
  local ok, press = pcall(M.new, spec)
  if ok then return press end
  return nil, press
end

--- Every name, sorted: files and aliases.
M.list = find.names

--- What prefill must observe for all of these presses: one table for model:prefill.
function M.needs(presses)
  local all = {}
  for _, press in ipairs(presses) do merge_needs(all, M.new(press).needs) end
  return all
end

--- Name and what differs from the defaults: "snapkv(window_size=16)".
function Press:label()
  local difference = params.difference(self.rule, self.params, self.base)
  return difference == "" and self.name or self.name .. "(" .. difference .. ")"
end

--- For rules: records that something had to be adapted to this context; ends up once in keep.notes.
function Press:note(text)
  if not notes or notes[text] then return end
  notes[text], notes[#notes + 1] = true, text
end

--- For rules: self:at_most(name, most) and self:last_of(name, tokens), see press_fit.lua.
Press.at_most, Press.last_of = fit.at_most, fit.last_of

--- Checked scores of a context, f32 [layers, kv_heads, tokens]; +inf = always kept, as layers that slide are.
function Press:score(ctx, ratio)
  request.expect_context(self, ctx, "score")
  return tensor.on(ctx.device or "cpu", layer_part.scores, ctx, function(x) return order.scores(self, x, ratio) end)
end

-- Runs fn while notes are collected into `list`; decisions inside decisions (wrappers) share the outermost list.
local function noting(list, fn, ...)
  local outer = notes
  notes = outer or list
  local function close(ok, ...)
    notes = outer
    if not ok then error((...), 0) end
    return ...
  end
  return close(pcall(fn, ...))
end

--- For wrappers: the order of a context, from which order:cut(ratio) makes keep-sets.
function Press:order(ctx, options, ratio)
  return tensor.on(ctx.device or "cpu", order.new, self, ctx, request.evictable(self, ctx, options), ratio)
end

--- KeepSets for a list of ratios (each the share evicted), from one score where the rule allows it. options.evictable
--- = {from, to}: only these tokens compete (0-based, half-open), the rest is kept; n_kept is taken of them. Each set
--- carries .press (label), .ratio and .notes; with options.ranks also .ranks and .evictable, which keep:force and
--- keep:drop go by (nil for rules that rank nothing). Layers that slide keep all; keep.compressed has the others.
function Press:keeps(ctx, list, options)
  if not M.is(self) then error("press.keep(ctx, ratio): a method is called with a colon -> press:keep(ctx, 0.9)", 0) end
  request.expect_context(self, ctx, "keep")
  request.expect_ratios(self, list)
  return view.remembering(self.decide, self, ctx, list, options)
end

--- keeps(), of which it is the work.
function Press:decide(ctx, list, options)
  local collected, out, shared, range, whole = {}, {}, nil, request.evictable(self, ctx, options), ctx
  ctx = layer_part.of(ctx) and layer_part.new(ctx, layer_part.of(ctx)) or ctx
  local function cut(made, ratio)
    local keep = made:cut(ratio)
    if options and options.ranks then keep.ranks, keep.evictable = made:head_ranks(), range end
    return keep
  end
  for i, given in ipairs(list) do
    local ratio = ratios.round(given)
    local keep = noting(collected, tensor.on, ctx.device or "cpu", function()
      if ratio == 0 then return keepset.all(ctx.layers, ctx.kv_heads, ctx.tokens) end
      if self.ratio_dependent then return cut(self:order(ctx, options, ratio), ratio) end
      shared = shared or self:order(ctx, options)
      return cut(shared, ratio)
    end)
    if ctx ~= whole then keep = tensor.on(ctx.device or "cpu", layer_part.expand, keep, ctx, whole) end
    out[i], keep.press, keep.ratio = keep, self:label(), ratio
  end
  for _, keep in ipairs(out) do
    for i, note in ipairs(collected) do keep.notes[i] = note end
  end
  return out
end

--- The KeepSet at one ratio; see keeps().
function Press:keep(ctx, ratio, options)
  return Press.keeps(self, ctx, { ratio == nil and "nil" or ratio }, options)[1]
end

return setmetatable(M, { __call = function(_, ...) return M.new(...) end })
