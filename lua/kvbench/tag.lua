-- SPDX-License-Identifier: Apache-2.0
-- kv.tag: the two axes of the paper's tagging framework (answer type, question type) by rules that read the question,
-- the answer and the passage alone, so that they run on anyone's data. Rules are tables in tag/answer_type.lua and
-- tag/question_type.lua; a user's file of the same form goes before them.
local features = require "kvbench.tag.features"

local M = {}
local Tagger = {}
Tagger.__index = Tagger

M.axes = { "answer_type", "question_type" }
M.tags = {
  answer_type = { "Person", "Thing", "Organization", "Creature", "Location", "Numerals", "Date/Time", "Event" },
  question_type = { "standard", "manipulated", "part" },
}

local function known(axis, tag)
  for _, name in ipairs(M.tags[axis]) do if name == tag then return true end end
  return false
end

-- A user's file: {answer_type = {rule, ...}, question_type = {...}}; each {name =, tag =, when = function(features)}.
local function load_rules(path)
  local chunk, fault = loadfile(path)
  if not chunk then error("rules do not load: " .. fault, 0) end
  local rules = chunk()
  if type(rules) ~= "table" then
    error(("rules '%s': the file returns no table -> see docs/dataset.md"):format(path), 0)
  end
  for axis, list in pairs(rules) do
    if not M.tags[axis] or type(list) ~= "table" then
      error(("rules '%s': '%s' is no axis -> answer_type or question_type"):format(path, tostring(axis)), 0)
    end
    for i, rule in ipairs(list) do
      if type(rule) ~= "table" or type(rule.when) ~= "function" or type(rule.tag) ~= "string" then
        error(("rules '%s': %s rule %d lacks tag or when -> {name =, tag =, when = function(f)}"):format(path, axis,
          i), 0)
      end
      if not known(axis, rule.tag) then
        error(("rules '%s': %s rule %d: tag '%s' -> one of: %s"):format(path, axis, i, rule.tag,
          table.concat(M.tags[axis], ", ")), 0)
      end
    end
  end
  return rules
end

--- A tagger: the built-in rules, behind those of the file `opt.rules`.
function M.new(opt)
  local own = opt and opt.rules and load_rules(opt.rules) or {}
  local tagger = setmetatable({ axes = {} }, Tagger)
  for _, axis in ipairs(M.axes) do
    local builtin = require("kvbench.tag." .. axis)
    local rules = {}
    for _, list in ipairs { own[axis] or {}, builtin.rules } do
      for _, rule in ipairs(list) do rules[#rules + 1] = rule end
    end
    tagger.axes[axis] = { rules = rules, default = builtin.default }
  end
  return tagger
end

--- Tags of a question {q, a} about a passage: {answer_type =, question_type =, rules = {axis -> name of the rule}}.
function Tagger:tag(question, passage)
  local f = features.of(question, passage)
  local out = { rules = {} }
  for axis, spec in pairs(self.axes) do
    out[axis], out.rules[axis] = spec.default, "default"
    for _, rule in ipairs(spec.rules) do
      local ok, applies = pcall(rule.when, f)
      if not ok then error(("rule '%s': %s"):format(rule.name or "?", tostring(applies)), 0) end
      if applies then
        out[axis], out.rules[axis] = known(axis, rule.tag) and rule.tag or f[rule.tag], rule.name or "unnamed"
        break
      end
    end
  end
  return out
end

--- Fills in the tags that a record's questions lack. Returns how many tags were filled in.
function Tagger:complete(record)
  local filled = 0
  for _, q in ipairs(record.questions) do
    if not (q.answer_type and q.question_type) then
      local tags = self:tag(q, record.passage)
      for _, axis in ipairs(M.axes) do
        if not q[axis] then q[axis], filled = tags[axis], filled + 1 end
      end
    end
  end
  return filled
end

local builtin
--- The tagger with the built-in rules alone.
function M.default()
  builtin = builtin or M.new()
  return builtin
end

return setmetatable(M, { __call = function(_, question, passage) return M.default():tag(question, passage) end })
