-- SPDX-License-Identifier: Apache-2.0
-- Questions about an entity graph: an attribute of a named entity, an entity by an attribute, a part of a value, two
-- values at once, and the same over several links, where the reader has to find out what lies between.
local record = require "kvbench.dataset.record"
local template = require "kvbench.dataset.template"

local M = {}
local Asker = {}
Asker.__index = Asker

--- Questions for a record that has been written.
--   world  its graph; r: stream of the choices
function M.new(rec, world, r)
  return setmetatable({ rec = rec, world = world, r = r, main = world.entities[1] }, Asker)
end

--- The key of a fact: "founder" of the subject, "e2.born" of another entity.
function M.key(e, rel) return (e.key and e.key .. "." or "") .. rel end
local key = M.key

--- Whether the record states a relation of an entity.
function Asker:states(e, rel) return self.rec.builder.facts[key(e, rel)] ~= nil end

--- What the lexicon says of a relation: a fact of the kind, or the link of that name.
function Asker:spec(e, rel)
  for _, fact in ipairs(e.kind.facts) do if fact[1] == rel then return fact end end
  for _, link in ipairs(self.world.links) do if link.from == e and link.spec[1] == rel then return link.spec end end
end

-- Values as a question quotes them: a title in quotes, other names bare (the templates bring their articles).
local function quoted(e)
  local out = {}
  for rel, v in pairs(e.values) do
    out[rel] = type(v) == "table" and (v.quote and template.display(v) or v.name) or v
  end
  return out
end

local function plain(v) return type(v) == "table" and v.name or v end

function Asker:slots(e, phrase)
  local map = record.slots(e.subject)
  if phrase then map.N, map["N's"] = phrase, nil end
  map.M = template.display(self.main.subject)
  map.noun = self.main.kind.phrase_noun or self.main.kind.noun
  map.role = e.subject.role
  return map
end

-- A template that works with a phrase in place of a name: "the book about X's" is no English.
function Asker:choose(list, phrase)
  if not phrase then return self.r:choice(list) end
  local fit = {}
  for _, t in ipairs(list) do if not t:find("{N's}", 1, true) then fit[#fit + 1] = t end end
  return #fit > 0 and self.r:choice(fit) or nil
end

local function fill_phrase(text, map)
  return (text:gsub("{(%w+)}", function(k) return map[k] end))
end

--- The phrase that leads from entity a to b along the links, and the keys of the links that it follows.
--   from  phrase for a (default: its name)
function Asker:phrase(a, b, from)
  local words, bridges = from or template.display(a.subject), {}
  if b.level > a.level then
    local path, e = {}, b
    while e ~= a do
      table.insert(path, 1, e)
      e = e.parent
    end
    for _, step in ipairs(path) do
      words = fill_phrase(step.link.down, { X = words })
      bridges[#bridges + 1] = key(step.parent, step.link[1])
    end
  else
    local e = a
    while e ~= b do
      words = fill_phrase(e.link.up, { X = words, role = e.parent.subject.role,
        noun = self.main.kind.phrase_noun or self.main.kind.noun })
      bridges[#bridges + 1] = key(e.parent, e.link[1])
      e = e.parent
    end
  end
  return words, bridges
end

local function type_of(spec, value) return type(value) == "table" and value.entity.kind.type or spec.type end

--- "What is the population of Velatrel?"; with `anchor` the entity is not named but reached from there.
function Asker:forward(e, rel, anchor)
  local spec, value, phrase, bridges = self:spec(e, rel), e.values[rel], nil, nil
  if anchor and anchor ~= e then phrase, bridges = self:phrase(anchor, e) end
  local source = self:choose(spec.ask, phrase)
  if not source then return end
  return self.rec:ask { template = source, map = self:slots(e, phrase), values = quoted(e), facts = { key(e, rel) },
    bridges = bridges, direction = "forward", answer_type = type_of(spec, value), question_type = "standard",
    a = plain(value), aliases = type(value) == "table" and value.entity.name_aliases or e.aliases[rel],
    hop = (anchor or e).level, depth = bridges and #bridges or 0 }
end

--- "Which town has 4,300 inhabitants?": the entity by one of its attributes.
function Asker:reverse(e, rel)
  local spec = self:spec(e, rel)
  return self.rec:ask { template = self.r:choice(spec.reverse), map = self:slots(e), values = quoted(e),
    facts = { key(e, "name") }, cues = { key(e, rel) }, direction = "reverse", answer_type = e.kind.type,
    question_type = "standard", a = e.subject.name, aliases = e.name_aliases, hop = e.level, depth = 0 }
end

--- "Who is the author who grew up in the town with 4,300 inhabitants?": an attribute of e leads up to `target`.
function Asker:reverse_up(e, rel, target)
  local from = template.fill(self:spec(e, rel).np, self:slots(e), quoted(e)):gsub("^%u", string.lower)
  local phrase, bridges = self:phrase(e, target, from)
  local start = target.kind.type == "Person" and "Who is " or target.subject.quote and "What is the title of "
    or "What is the name of "
  return self.rec:ask { template = start .. phrase .. "?",
    pattern = start .. "the " .. target.kind.noun .. " ... <" .. rel
    .. ">?", map = {}, values = {}, facts = { key(target, "name") }, cues = { key(e, rel) }, bridges = bridges,
    direction = "reverse", answer_type = target.kind.type, question_type = "standard", a = target.subject.name,
    aliases = target.name_aliases, hop = e.level, depth = #bridges }
end

--- "In which year was it built?" where the text gives the whole date. nil when the relation has no such form.
function Asker:manipulated(e, rel)
  local change = self:spec(e, rel).manipulated
  if not change then return end
  return self.rec:ask { template = self.r:choice(change.ask), map = self:slots(e), values = quoted(e),
    facts = { key(e, rel) }, direction = "forward", answer_type = self:spec(e, rel).type, question_type = "manipulated",
    a = change.of(e.values[rel]), hop = e.level, depth = 0 }
end

--- Two values in one answer, of one entity or of two.
function Asker:part(a, rel_a, b, rel_b)
  local sa, sb = self:spec(a, rel_a), self:spec(b, rel_b)
  local ta, tb = self.r:choice(sa.ask), self.r:choice(sb.ask)
  local first = template.fill(ta, self:slots(a), quoted(a))
  local second = template.fill(tb, self:slots(b), quoted(b))
  local va, vb = plain(a.values[rel_a]), plain(b.values[rel_b])
  return self.rec:ask { template = first:gsub("%?$", "") .. ", and " .. second:gsub("^%u", string.lower),
    pattern = ta:gsub("%?$", "") .. ", and " .. tb, map = {}, values = {}, facts = { key(a, rel_a), key(b, rel_b) },
    direction = "forward", answer_type = type_of(sa, a.values[rel_a]), question_type = "part", a = va .. ", " .. vb,
    aliases = { va .. " and " .. vb, vb .. ", " .. va, vb .. " and " .. va }, hop = math.min(a.level, b.level),
    depth = 0 }
end

--- One of the subject's own two-part questions (`parts` of its lexicon), or nil if the record answers none.
function Asker:pair(e)
  for _, p in ipairs(self.r:shuffle({ unpack(e.kind.parts) })) do
    if self:states(e, p[2]) and self:states(e, p[3]) then
      local a, b = e.values[p[2]], e.values[p[3]]
      local aliases = { a .. " and " .. b, b .. ", " .. a, b .. " and " .. a }
      if self:spec(e, p[3]).type == "Date/Time" then aliases[#aliases + 1] = a .. " in " .. b end
      return self.rec:ask { template = p[1], map = self:slots(e), values = {}, facts = { p[2], p[3] },
        direction = "forward", answer_type = self:spec(e, p[2]).type, question_type = "part", a = a .. ", " .. b,
        aliases = aliases, hop = 0, depth = 0 }
    end
  end
end

--- "What is the subject of the given passage?"
function Asker:about()
  local e = self.main
  return self.rec:ask { template = self.r:choice { "What is the subject of the given passage?",
    "What is the passage mainly about?" }, map = {}, values = {}, facts = { "name" }, direction = "reverse",
    answer_type = e.kind.type, question_type = "standard", a = e.subject.name, aliases = e.name_aliases }
end

return M
