-- SPDX-License-Identifier: Apache-2.0
-- From an entity graph to paragraphs: which sentence states which fact, in what order, and how the text is brought to
-- its length. A paragraph is about one entity and begins by naming it; an entity is introduced by the sentence of its
-- link before its own paragraph goes on; apart from that the order is drawn, so that no place belongs to a relation.
local rng = require "kvbench.rng"
local template = require "kvbench.dataset.template"
local text = require "kvbench.dataset.text"

local M = {}
local Plan = {}
Plan.__index = Plan

local function holds_word(s, word)
  local at = 1
  while true do
    local from, to = s:find(word, at, true)
    if not from then return false end
    if not s:sub(from - 1, from - 1):match("%w") and not s:sub(to + 1, to + 1):match("%w") then return true end
    at = from + 1
  end
end

-- Everything fixed of a template, lower case: what a value must not occur in. Kept, because templates are few.
local literals = {}
local function literal(source)
  local s = literals[source]
  if not s then
    s = source:gsub("<[%w_]+>", " "):gsub("[%[%]]", ""):lower()
    literals[source] = s
  end
  return s
end

--- A plan for the text of a world.
--   r  stream of all choices
function M.new(world, r)
  return setmetatable({ world = world, r = r, paragraphs = {}, used = {}, said = {} }, Plan)
end

-- All values of the passage, in lower case: no fixed words may repeat one, or it would be stated twice.
function Plan:values()
  if not self.lowered then
    self.lowered = {}
    for _, e in ipairs(self.world.entities) do
      self.lowered[#self.lowered + 1] = e.subject.name:lower()
      for _, fact in ipairs(e.kind.facts) do
        local v = e.values[fact[1]]
        if type(v) == "string" then self.lowered[#self.lowered + 1] = v:lower() end
      end
    end
  end
  return self.lowered
end

function Plan:usable(source)
  if self.used[source] then return false end
  local fixed = literal(source)
  for _, value in ipairs(self:values()) do if holds_word(fixed, value) then return false end end
  return true
end

local function names_subject(source) return source:find("{[SNK]") ~= nil end

local function item(e, source, id) return { entity = e, template = source, id = id,
  relations = template.relations(source) } end

local lists = {}
local function numbered(e, list, kind)
  local found = lists[list]
  if not found then
    found = {}
    for i, source in ipairs(list) do
      found[i] = { template = source, id = ("%s.%s%d"):format(e.kind.name, kind, i),
        relations = template.relations(source) }
    end
    lists[list] = found
  end
  return { unpack(found) }
end

--- Sentences that state each wanted relation of an entity exactly once, in random order.
--   wanted   {rel = true}; relations that no usable sentence states are left out
--   explicit only sentences that name their subject (needed where two of a kind are in one passage)
function Plan:facts(e, wanted, explicit)
  local out, covered = {}, {}
  for _, s in ipairs(self.r:shuffle(numbered(e, e.kind.sentences, "s"))) do
    local new = #s.relations > 0
    for _, rel in ipairs(s.relations) do new = new and wanted[rel] and not covered[rel] end
    if new and (not explicit or names_subject(s.template)) and self:usable(s.template) then
      for _, rel in ipairs(s.relations) do covered[rel] = true end
      self.used[s.template] = true
      out[#out + 1] = item(e, s.template, s.id)
    end
  end
  return out, covered
end

--- The first sentence about the subject of the passage; states up to two relations.
--   wanted  {rel = true} that it may state, or nil for any
function Plan:opening(e, wanted)
  for _, s in ipairs(self.r:shuffle(numbered(e, e.kind.openings, "opening"))) do
    local allowed = true
    for _, rel in ipairs(s.relations) do allowed = allowed and (not wanted or wanted[rel]) end
    if allowed and self:usable(s.template) then
      local covered = {}
      for _, rel in ipairs(s.relations) do covered[rel] = true end
      self.used[s.template] = true
      return item(e, s.template, s.id), covered
    end
  end
  error("no opening is usable for " .. e.subject.name, 0)
end

--- The sentence of a link, said of the entity that it starts from.
function Plan:link(e)
  local at = self.r:int(1, #e.link.sentences)
  for _ = 1, #e.link.sentences do
    local source = e.link.sentences[at]
    if self:usable(source) then
      self.used[source] = true
      return item(e.parent, source, ("link.%s%d"):format(e.link[1], at))
    end
    at = at % #e.link.sentences + 1
  end
  error("no link sentence is usable for " .. e.subject.name, 0)
end

--- Adds a paragraph: items in order, about entity e; `after` is the entity that has to be introduced before.
function Plan:add(e, items, after)
  local p = { entity = e, after = after, fixed = #items }
  for _, i in ipairs(items) do p[#p + 1] = i end
  self.paragraphs[#self.paragraphs + 1] = p
  return p
end

--- Cuts a list of items into paragraphs of at most `most` sentences, each beginning with one that names its subject.
function Plan:split(e, items, most, after)
  local count = math.max(1, math.ceil(#items / most))
  local size = math.ceil(#items / count)
  local heads, rest = {}, {}
  for _, i in ipairs(items) do
    if #heads < count and names_subject(i.template) then heads[#heads + 1] = i else rest[#rest + 1] = i end
  end
  local at = 1
  for _, head in ipairs(heads) do
    local part = { head }
    while #part < size and rest[at] do
      part[#part + 1] = rest[at]
      at = at + 1
    end
    self:add(e, part, after)
  end
  while rest[at] do -- none left to begin with: the last paragraph takes them
    local last = self.paragraphs[#self.paragraphs]
    last[#last + 1] = rest[at]
    at = at + 1
  end
end

--- The paragraphs of a linked entity: its link and its facts, in one piece or, when there are many, in two.
function Plan:chapter(e, link, facts)
  local first = #facts > 5 and #facts - 3 or #facts
  self:add(e, { link, unpack(facts, 1, first) }, e.parent)
  if first < #facts then self:split(e, { unpack(facts, first + 1) }, 3, e) end
end

--- Puts the paragraphs into a random order in which everything is introduced before it is spoken of. The first stays.
function Plan:order()
  local first = table.remove(self.paragraphs, 1)
  local open, out, known = self.r:shuffle(self.paragraphs), { first }, { [first.entity] = true }
  while #open > 0 do
    for i, p in ipairs(open) do
      if not p.after or known[p.after] then
        out[#out + 1] = table.remove(open, i)
        known[p.entity] = true
        break
      elseif i == #open then
        error("paragraphs about " .. p.entity.subject.name .. " wait for one that is missing", 0)
      end
    end
  end
  self.paragraphs = out
end

-- Words before a sentence, now and then, where it begins in a way that allows it.
local leads = { "By all accounts, ", "As it happens, ", "In fact, ", "Not surprisingly, ", "Strange to say, " }

--- All fillers that may still be used, in random order: { paragraph = , item = }.
function Plan:fillers()
  local out = {}
  for _, p in ipairs(self.paragraphs) do
    for _, s in ipairs(numbered(p.entity, p.entity.kind.fillers, "filler")) do
      out[#out + 1] = { paragraph = p, item = item(p.entity, s.template, s.id) }
    end
  end
  return self.r:shuffle(out)
end

local function insert_filler(plan, f)
  local p = f.paragraph
  f.item.filler = true
  if plan.r:uniform() < 0.12 and text.takes_lead(f.item.template) then f.item.lead = plan.r:choice(leads) end
  plan.used[f.item.template] = true
  table.insert(p, plan.r:int(math.min(3, #p + 1), #p + 1), f.item)
end

local function remove_filler(plan)
  for _, p in ipairs(plan.paragraphs) do
    for i = #p, 2, -1 do
      if p[i].filler then
        table.remove(p, i)
        return true
      end
    end
  end
end

--- Writes the plan into a record (see realise) and brings it to between lo and hi words with sentences that answer
-- nothing. `make` returns a new record under construction. The record is returned, or nil and why there is none.
function Plan:fit(lo, hi, make)
  local fillers, at = self:fillers(), 1
  for _ = 1, 200 do
    local rec = M.realise(self, make())
    local words = template.words(rec.builder:text())
    if words >= lo and words <= hi then return rec end
    if words > hi then
      if not remove_filler(self) then return nil, ("%d words without any filler"):format(words) end
    else
      local missing = math.max(1, math.floor((lo - words) / 16))
      while missing > 0 do
        local f = fillers[at]
        if not f then return nil, ("no fillers left at %d words"):format(words) end
        at = at + 1
        if self:usable(f.item.template) then
          insert_filler(self, f)
          missing = missing - 1
        end
      end
    end
  end
  return nil, ("cannot reach %d to %d words"):format(lo, hi)
end

--- Writes all paragraphs.
function M.realise(plan, rec)
  for _, p in ipairs(plan.paragraphs) do
    rec.builder:paragraph()
    for _, i in ipairs(p) do
      rec.builder:about(i.entity.subject)
      rec:say(i.template, i.entity.values, i.entity.subject.fill, i.id, i.lead)
    end
  end
  return rec
end

--- A function that starts the record of a world; its builder draws the same forms each time it is called.
function M.starter(world, id, task, record)
  local types, subjects = {}, {}
  for i, e in ipairs(world.entities) do
    local prefix = e.key and e.key .. "." or ""
    types[prefix .. "name"], subjects[i] = e.kind.type, e.subject
    for _, fact in ipairs(e.kind.facts) do types[prefix .. fact[1]] = fact.type end
  end
  for _, link in ipairs(world.links) do
    types[(link.from.key and link.from.key .. "." or "") .. link.spec[1]] = link.to.kind.type
  end
  return function()
    return record.new(id, task, subjects[1], types, rng.new("kvbench/text/" .. id), subjects)
  end
end

return M
