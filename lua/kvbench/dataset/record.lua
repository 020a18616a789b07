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
--   subject   see text.new; types: relation -> answer type, or key -> type for entities with a key
--   r         stream for the builder's choices; entities: all entities, the subject first (default: the subject alone)
function M.new(id, task, subject, types, r, entities)
  return setmetatable({
    id = id, task = task, subject = subject, types = types, entities = entities or { subject }, questions = {},
    builder = text.new(subject, r, entities),
  }, Record)
end

--- Writes one sentence (see text.lua for the arguments).
function Record:say(source, values, fill, id, lead) return self.builder:sentence(source, values, fill, id, lead) end

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
--   q.template   question text with {N} and <rel> slots; q.values: rel -> text; q.map: {slot} -> text (default: the
--                subject's)
--   q.facts      keys of the facts whose values make the answer; q.cues: of those that the question itself quotes;
--                q.bridges: of those that a reader has to follow from what is named to what is asked
--   q.a, q.aliases, q.direction, q.answer_type, q.question_type, q.hop, q.depth; q.answerable = false makes the
--   answer "I don't know", with `facts` naming what tempts a reader; q.pattern is stored as the question's template
--   where q.template is already put together
function Record:ask(q)
  self.questions[#self.questions + 1] = q
  return q
end

--- What the slots of a question stand for when it is about `entity`.
function M.slots(entity)
  local name, p = template.display(entity), entity.pronouns
  return { N = name, ["N's"] = template.possessive(name), K = "the " .. entity.kind, kind = entity.kind,
    he = p[1], him = p[2], his = p[3], himself = p[4] }
end

local function ids(by_key, keys, question)
  local list = {}
  for i, key in ipairs(keys or {}) do
    local fact = by_key[key]
    if not fact then error("question '" .. question .. "' names fact '" .. key .. "', which was not written", 0) end
    list[i] = fact.id
  end
  return list
end

-- Names first, then attributes in the order of the text; returns the stored facts and a lookup by key.
function Record:stored_facts()
  local b, facts, by_key = self.builder, {}, {}
  local function store(fact)
    local stored = { id = "f" .. #facts + 1, subject = fact.subject.name, relation = fact.relation,
      type = self.types[fact.key], value = fact.value, mentions = fact.mentions }
    facts[#facts + 1], by_key[fact.key] = stored, stored
  end
  for _, entity in ipairs(self.entities) do store(b:name_fact(entity)) end
  for _, fact in ipairs(b.facts) do store(fact) end
  return facts, by_key
end

--- The stored record. `extra` fields (domain) are added at the top.
function Record:finish(extra)
  local facts, by_key = self:stored_facts()
  local map, questions = M.slots(self.subject), {}
  for i, q in ipairs(self.questions) do
    local answerable = q.answerable ~= false
    questions[i] = {
      q = template.fill(q.template, q.map or map, q.values), a = answerable and q.a or M.unknown,
      aliases = answerable and (q.aliases or {}) or M.unknown_aliases,
      fact_ids = ids(by_key, q.facts, q.template), cue_ids = ids(by_key, q.cues, q.template),
      bridge_ids = q.bridges and ids(by_key, q.bridges, q.template) or nil,
      direction = q.direction, answer_type = q.answer_type, question_type = q.question_type,
      hop = q.hop or 0, depth = q.depth or 0, answerable = answerable, template = q.pattern or q.template,
    }
  end
  local record = { id = self.id, task = self.task, subject = self.subject.name, passage = self.builder:text(),
    facts = facts, questions = questions }
  for key, value in pairs(extra or {}) do record[key] = value end
  return record
end

return M
