-- SPDX-License-Identifier: Apache-2.0
-- Text that knows where its facts are: sentence templates are realised into a builder that records, while it writes,
-- the byte span of every sentence, value, subject mention and relation word. Nothing is searched for afterwards, so a
-- span cannot point at a chance repetition of the value.
--
-- The language of the templates: kvbench.dataset.template.
local template = require "kvbench.dataset.template"

local M = {}
local Builder = {}
Builder.__index = Builder

--- A builder about one subject.
--   subject  { name, article = "the"|nil, kind = "band", short = nil|"Batistuta",
--            pronouns = {"it", "it", "its", "itself"} }
--   r        the stream that picks the subject's forms
function M.new(subject, r)
  return setmetatable({
    subject = subject, r = r, parts = {}, bytes = 0, facts = {}, names = {}, pronouns = {}, pronoun_run = 0,
      subject_last = false,
  }, Builder)
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

-- Writes the full name and notes it as a mention; the article is outside the span, as it is outside the answer.
function Builder:put_name(possessive)
  local s = self.subject
  if s.article then self:put(s.article .. " ") end
  local span = self:put(s.name)
  self.names[#self.names + 1] = { span = span, sentence = self.sentence_span }
  if possessive then self:put(s.name:match("s$") and "'" or "'s") end
  self.antecedent = span
  return span
end

-- A pronoun only as the first word of a sentence after one about the subject: anywhere else it may mean another noun.
function Builder:pick_form(first)
  if not self.antecedent then return "name" end
  local u, s = self.r:uniform(), self.subject
  if first and self.subject_last and self.pronoun_run < 2 and u < 0.5 then return "pronoun" end
  if u < 0.75 or self.last_form == "name" then return s.short and u < 0.6 and "short" or "kind" end
  return "name"
end

-- Writes one mention of the subject; returns the spans that bind it (the words, and the name that they stand for).
function Builder:put_subject(form, possessive)
  local s = self.subject
  if form == "name" then return { self:put_name(possessive) } end
  local antecedent = self.antecedent
  local words
  if form == "pronoun" then words = possessive and s.pronouns[3] or s.pronouns[1]
  elseif form == "short" then words = possessive and template.possessive(s.short) or s.short
  else words = possessive and template.possessive("the " .. s.kind) or "the " .. s.kind end
  local span = self:put(words)
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
  if base then
    possessive = possessive ~= ""
    if base == "N" then return self:put_subject("name", possessive), "name" end
    if base == "K" then return self:put_subject("kind", possessive), "kind" end
    local form = self:pick_form(first)
    return self:put_subject(form, possessive), form
  end
  local words = self:filler(key, fill)
  if not words then error("template slot {" .. key .. "} has no filler", 0) end
  local span = self:put(words)
  if pronoun_slot[key] then
    self.pronouns[#self.pronouns + 1] = span
    return self.antecedent and { span, { self.antecedent[1], self.antecedent[2] } } or { span }
  end
end

--- Writes one sentence.
--   source    a template; its (a|b) are drawn from the builder's stream
--   values    rel -> value text
--   fill      key -> text for {key}
--   id        name of the template, kept in each mention (grouped folds need it)
-- Facts are collected in b.facts[rel] = {relation, value, mentions}.
function Builder:sentence(source, values, fill, id)
  if self.bytes > 0 then self:put(" ") end
  self.raise = true
  local sentence = { self.bytes, self.bytes }
  self.sentence_span = sentence
  local pieces = template.compile(template.choose(source, self.r))
  local found, relation_spans, subject_spans = {}, {}, {}
  local article, used_form, subject_first = false, nil, false
  for i, piece in ipairs(pieces) do
    local body = piece.body
    if piece.kind == "value" then body = values[body] or error("no value for <" .. body .. ">", 0) end
    if article and piece.kind ~= "article" then
      self:put(template.article(piece.kind == "slot" and self:filler(body, fill) or body) .. " ")
      article = false
    end
    if piece.kind == "text" then self:put(body)
    elseif piece.kind == "article" then article = true
    elseif piece.kind == "value" then
      found[#found + 1] = { relation = piece.body, value = body, span = self:put(body) }
    elseif piece.kind == "relation" then
      relation_spans[#relation_spans + 1] = { of = piece.of, span = self:put(body) }
    else
      local spans, form = self:put_slot(piece.body, fill, i == 1)
      for _, span in ipairs(spans or {}) do subject_spans[#subject_spans + 1] = span end
      if form then
        used_form = form
        if i == 1 then subject_first = true end
      end
    end
  end
  sentence[2] = self.bytes
  if #subject_spans == 0 and self.antecedent then subject_spans[1] = { self.antecedent[1], self.antecedent[2] } end
  self.subject_last, self.last_form = subject_first, used_form
  self.pronoun_run = used_form == "pronoun" and self.pronoun_run + 1 or 0
  for _, v in ipairs(found) do self:note(v, sentence, subject_spans, relation_spans, id) end
  return sentence
end

local function copy(span) return { span[1], span[2] } end

function Builder:note(v, sentence, subject_spans, relation_spans, id)
  local binding = {}
  for _, span in ipairs(subject_spans) do binding[#binding + 1] = copy(span) end
  for _, rel in ipairs(relation_spans) do if rel.of == v.relation then binding[#binding + 1] = copy(rel.span) end end
  local fact = self.facts[v.relation]
  if not fact then
    fact = { relation = v.relation, value = v.value, mentions = {} }
    self.facts[v.relation] = fact
    self.facts[#self.facts + 1] = fact
  end
  fact.mentions[#fact.mentions + 1] = { sentence = copy(sentence), value = v.span, binding = binding, template = id }
end

--- The text so far.
function Builder:text() return table.concat(self.parts) end

--- The subject's name as a fact: one mention per place where it is written in full.
function Builder:name_fact()
  local mentions = {}
  for _, m in ipairs(self.names) do
    mentions[#mentions + 1] = { sentence = copy(m.sentence), value = copy(m.span), binding = {} }
  end
  return { relation = "name", value = self.subject.name, mentions = mentions }
end

return M
