-- SPDX-License-Identifier: Apache-2.0
-- One record while it is made: sentences go through the text builder, questions name facts by relation, and `finish`
-- turns both into the stored form. The name of the subject is a fact too, since reverse questions ask for it.
local template = require "kvbench.dataset.template"
local text = require "kvbench.dataset.text"

local M = {}
local Record = {}
Record.__index = Record

M.unknown = "I don't know"
M.unknown_aliases = { "I do not know", "Unknown", "Not stated", "Not mentioned" }

--- A record under construction.
--   subject  see text.new; types: relation -> answer type; r: stream for the builder's choices
function M.new(id, task, subject, types, r)
  return setmetatable({
    id = id, task = task, subject = subject, types = types, builder = text.new(subject, r), questions = {},
  }, Record)
end

--- Writes one sentence (see text.lua for the arguments).
function Record:say(source, values, fill, id) return self.builder:sentence(source, values, fill, id) end

--- Adds every pronoun written so far to the binding of a fact: what betrays a person's gender, for one, is not only the
-- sentence that states it.
function Record:bind_pronouns(relation)
  local mention = self.builder.facts[relation].mentions[1]
  local known = {}
  for _, span in ipairs(mention.binding) do known[span[1]] = true end
  for _, span in ipairs(self.builder.pronouns) do
    if not known[span[1]] then mention.binding[#mention.binding + 1] = { span[1], span[2] } end
  end
end

--- Adds a question.
--   q.template   question text with {N} and <rel> slots; q.values: rel -> text
--   q.facts      relations whose values make the answer; q.cues: relations that the question itself quotes
--   q.a, q.aliases, q.direction, q.answer_type, q.question_type, q.hop, q.depth; q.answerable = false makes the
--   answer "I don't know", with `facts` naming what tempts a reader
function Record:ask(q)
  self.questions[#self.questions + 1] = q
  return q
end

local function slots(subject)
  local name = subject.article and subject.article .. " " .. subject.name or subject.name
  local p = subject.pronouns
  return { N = name, ["N's"] = template.possessive(name), K = "the " .. subject.kind, kind = subject.kind,
    he = p[1], him = p[2], his = p[3], himself = p[4] }
end

local function ids(by_relation, relations, question)
  local list = {}
  for i, relation in ipairs(relations or {}) do
    local fact = by_relation[relation]
    if not fact then error("question '" .. question .. "' names fact '" .. relation .. "', which was not written",
      0) end
    list[i] = fact.id
  end
  return list
end

--- The stored record. `extra` fields (domain) are added at the top.
function Record:finish(extra)
  local b = self.builder
  local facts = { b:name_fact() }
  for _, fact in ipairs(b.facts) do facts[#facts + 1] = fact end
  local by_relation = {}
  for i, fact in ipairs(facts) do
    by_relation[fact.relation] = fact
    facts[i] = { id = "f" .. i, subject = self.subject.name, relation = fact.relation, type = self.types[fact.relation],
      value = fact.value, mentions = fact.mentions }
    by_relation[fact.relation] = facts[i]
  end
  local map, questions = slots(self.subject), {}
  for i, q in ipairs(self.questions) do
    local answerable = q.answerable ~= false
    questions[i] = {
      q = template.fill(q.template, q.map or map, q.values), a = answerable and q.a or M.unknown,
      aliases = answerable and (q.aliases or {}) or M.unknown_aliases,
      fact_ids = ids(by_relation, q.facts, q.template), cue_ids = ids(by_relation, q.cues, q.template),
      direction = q.direction, answer_type = q.answer_type, question_type = q.question_type,
      hop = q.hop or 0, depth = q.depth or 0, answerable = answerable, template = q.template,
    }
  end
  local record = { id = self.id, task = self.task, subject = self.subject.name, passage = b:text(), facts = facts,
    questions = questions }
  for key, value in pairs(extra or {}) do record[key] = value end
  return record
end

return M
