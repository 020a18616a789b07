-- SPDX-License-Identifier: Apache-2.0
-- Text that knows where its facts are: sentence templates are realised into a builder that records, while it writes,
-- the byte span of every sentence, value, subject mention and relation word. Nothing is searched for afterwards, so a
-- span cannot point at a chance repetition of the value.
--
-- The language of the templates: kvbench.dataset.template. How an entity is called: kvbench.dataset.refer.
local refer = require "kvbench.dataset.refer"
local template = require "kvbench.dataset.template"

local M = {}
local Builder = {}
Builder.__index = Builder

--- A builder.
--   subject   the entity that sentences are about until `about` is called:
--             { name, article = "the"|nil, quote = true|nil (a title), kind = "band", short = nil|"Batistuta",
--             pronouns = {"it", "it", "its", "itself"}, key = nil|"e2" }; its facts are b.facts["e2.born"], without
--             a key b.facts.born
--   r         the stream that picks forms and alternatives
--   entities  all entities of the passage (default: the subject alone); a kind that two of them share names nobody
function M.new(subject, r, entities)
  local kinds = {}
  for _, e in ipairs(entities or { subject }) do kinds[e.kind] = (kinds[e.kind] or 0) + 1 end
  return setmetatable({
    subject = subject, main = subject, r = r, parts = {}, bytes = 0, facts = {}, pronouns = {}, states = {},
      kinds = kinds,
    topic = nil, introduced = nil, fresh_paragraph = true,
  }, Builder)
end

--- What the builder knows of an entity: { names = full mentions, antecedent, form = last form, run = pronouns so far }.
function Builder:state(entity)
  local s = self.states[entity]
  if not s then
    s = { names = {}, run = 0 }
    self.states[entity] = s
  end
  return s
end

--- The sentences that follow are about `entity`.
function Builder:about(entity) self.subject = entity end

--- The next sentence begins a paragraph.
function Builder:paragraph()
  self.break_next = self.bytes > 0
  self.topic, self.introduced, self.fresh_paragraph = nil, nil, true
end

-- Appends text and returns its span. The first letter of a sentence is raised here, in place, so spans stay right.
function Builder:put(text)
  if self.raise and text ~= "" then
    text = text:gsub("^%l", string.upper)
    self.raise = false
  end
  local from = self.bytes
  self.parts[#self.parts + 1] = text
  self.bytes = from + #text
  return { from, self.bytes }
end

-- Writes a full name and notes it as a mention; article and quotes are outside the span, as they are outside the
-- answer.
function Builder:put_name(entity, possessive)
  if entity.article then self:put(entity.article .. " ") end
  if entity.quote then self:put('"') end
  local span = self:put(entity.name)
  if entity.quote then self:put('"') end
  local state = self:state(entity)
  state.names[#state.names + 1] = { span = span, sentence = self.sentence_span }
  if possessive then self:put(entity.name:match("s$") and "'" or "'s") end
  state.antecedent = span
  return span
end

-- Writes one mention of the subject; returns the spans that bind it (the words, and the name that they stand for).
function Builder:put_subject(form, possessive)
  local s = self.subject
  if form == "name" then return { self:put_name(s, possessive) } end
  local antecedent = self:state(s).antecedent
  local span = self:put(refer.words(s, form, possessive))
  return antecedent and { span, { antecedent[1], antecedent[2] } } or { span }
end

local pronoun_slot = { he = 1, him = 2, his = 3, himself = 4 }

function Builder:filler(key, fill)
  if pronoun_slot[key] then return self.subject.pronouns[pronoun_slot[key]] end
  if key == "kind" then return self.subject.kind end
  return fill and fill[key]
end

function Builder:put_slot(key, fill, first)
  local base, possessive = key:match("^([SNK])('?s?)$")
  local s = self.subject
  if base then
    local form = base == "N" and "name" or base == "K" and refer.kind(self, s) or refer.pick(self, s, first)
    return self:put_subject(form, possessive ~= ""), form
  end
  if key == "M" then return { self:put_name(self.main) } end
  local words = self:filler(key, fill)
  if not words then error("template slot {" .. key .. "} has no filler", 0) end
  local span = self:put(words)
  if pronoun_slot[key] then
    self.pronouns[#self.pronouns + 1] = span
    local antecedent = self:state(s).antecedent
    return antecedent and { span, { antecedent[1], antecedent[2] } } or { span }
  end
end

-- A value that is an entity of the passage is written as its name and counts as a mention of it.
function Builder:put_value(piece, value, found)
  local entity = type(value) == "table" and value or nil
  local span = entity and self:put_name(entity) or self:put(value)
  found[#found + 1] = { relation = piece.body, value = entity and entity.name or value, span = { span[1], span[2] },
    entity = entity }
end

-- After "As noted above, " a sentence goes on in lower case where its first word is an everyday one.
local everyday = refer.set [[The A An It Its In At On From After Before Under With Every Each Most Much Many Some
  Few One Two Three When While Among During Until Since Over Through Today Nobody Nearly Anyone Because Although To
  For By As All Everyone Everything Readers Visitors People Local Older Early Nothing Nowhere What Whoever Those]]

local function lowered(text)
  local word = text:match("^%a+")
  return word and everyday[word] and text:gsub("^%u", string.lower) or text
end

--- Whether words such as "In fact, " may stand before a template.
function M.takes_lead(source)
  return source:match("^{[SK]'?s?}") ~= nil or everyday[source:match("^%[?(%a+)") or ""] == true
end

--- Writes one sentence.
--   source    a template; its (a|b) are drawn from the builder's stream
--   values    rel -> value text, or an entity whose name is the value
--   fill      key -> text for {key}
--   id        name of the template, kept in each mention (grouped folds need it)
--   lead      words before the sentence ("As noted above, "), or nil
-- Facts are collected in b.facts[key] = {relation, value, mentions, subject}.
function Builder:sentence(source, values, fill, id, lead)
  if self.bytes > 0 then self:put(self.break_next and "\n" or " ") end
  self.break_next, self.raise = false, true
  local sentence = { self.bytes, self.bytes }
  self.sentence_span = sentence
  local pieces = template.compile(template.choose(source, self.r))
  local found, relation_spans, subject_spans = {}, {}, {}
  local article, used_form, subject_first = false, nil, false
  if lead then self:put(lead) end
  for i, piece in ipairs(pieces) do
    local body = piece.body
    if i == 1 and lead then body = lowered(body) end
    if piece.kind == "value" then body = values[body] or error("no value for <" .. body .. ">", 0) end
    if article and piece.kind ~= "article" then
      local next_words = piece.kind == "slot" and self:filler(body, fill) or body
      self:put(template.article(next_words) .. " ")
      article = false
    end
    if piece.kind == "text" then self:put(body)
    elseif piece.kind == "article" then article = true
    elseif piece.kind == "value" then
      self:put_value(piece, body, found)
    elseif piece.kind == "relation" then
      relation_spans[#relation_spans + 1] = { of = piece.of, span = self:put(body) }
    else
      local follows = pieces[i + 1] and pieces[i + 1].body or ""
      local spans, form = self:put_slot(piece.body, fill, i == 1 and not lead and follows:sub(1, 1) ~= ",")
      for _, span in ipairs(spans or {}) do subject_spans[#subject_spans + 1] = span end
      if form then
        used_form = form
        if i == 1 then subject_first = true end
      end
    end
  end
  sentence[2] = self.bytes
  local state = self:state(self.subject)
  if #subject_spans == 0 and state.antecedent then
    subject_spans[1] = { state.antecedent[1], state.antecedent[2] }
  end
  for _, v in ipairs(found) do self:note(v, sentence, subject_spans, relation_spans, id) end
  refer.after(self, subject_first, used_form, found)
  return sentence
end

local function copy(span) return { span[1], span[2] } end

function Builder:note(v, sentence, subject_spans, relation_spans, id)
  local binding = {}
  for _, span in ipairs(subject_spans) do binding[#binding + 1] = copy(span) end
  for _, rel in ipairs(relation_spans) do if rel.of == v.relation then binding[#binding + 1] = copy(rel.span) end end
  local key = (self.subject.key and self.subject.key .. "." or "") .. v.relation
  local fact = self.facts[key]
  if not fact then
    fact = { key = key, relation = v.relation, value = v.value, subject = self.subject, mentions = {} }
    self.facts[key] = fact
    self.facts[#self.facts + 1] = fact
  end
  fact.mentions[#fact.mentions + 1] = { sentence = copy(sentence), value = v.span, binding = binding, template = id }
end

--- The text so far.
function Builder:text() return table.concat(self.parts) end

--- An entity's name as a fact: one mention per place where it is written in full.
function Builder:name_fact(entity)
  entity = entity or self.subject
  local mentions = {}
  for _, m in ipairs(self:state(entity).names) do
    mentions[#mentions + 1] = { sentence = copy(m.sentence), value = copy(m.span), binding = {} }
  end
  return { key = (entity.key and entity.key .. "." or "") .. "name", relation = "name", value = entity.name,
    subject = entity, mentions = mentions }
end

return M
