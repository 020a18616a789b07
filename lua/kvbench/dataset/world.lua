-- SPDX-License-Identifier: Apache-2.0
-- The entity graph behind a long passage: entities of a kind with drawn values, and links from one to another. Nothing
-- here writes text (discourse.lua) or questions (ask.lua).
local names = require "kvbench.dataset.names"
local draw = require "kvbench.dataset.draw"
local links = require "kvbench.dataset.links"

local M = { domains = {}, kinds = {} }

-- The modules that a task made of worlds stands on (its hash covers them).
M.uses = { "kvbench.dataset.world", "kvbench.dataset.links", "kvbench.dataset.discourse", "kvbench.dataset.ask",
  "kvbench.dataset.draw", "kvbench.dataset.dates", "kvbench.dataset.real_names", "kvbench.dataset.kind_pools" }

local function load(folder, name)
  local module = ("kvbench.dataset.%s.%s"):format(folder, name)
  M.uses[#M.uses + 1] = module
  return require(module)
end

M.domain_names = names.list "band species landmark condition trial prison anime rock city athlete"
for i, name in ipairs(M.domain_names) do M.domains[i] = load("domain", name) end
for _, name in ipairs(names.list "book film project society museum person town school ship workshop choir") do
  M.kinds[name] = load("kind", name)
end

local World = {}
World.__index = World

--- Which domain record i of a seed has: every block of ten records holds each domain once, in random order. Also
-- returns the number of the record within its domain.
function M.domain(rng, task, seed, i)
  local block = math.floor((i - 1) / #M.domains)
  local order = rng.new(("kvbench/%s/%s/block/%d"):format(task, seed, block)):shuffle({ unpack(M.domains) })
  return order[(i - 1) % #M.domains + 1], block + 1
end

--- An empty world.
--   task, r  its task's name, and the stream of the draws; the year in which the passage is set (d.now) follows from
--   the subject's own dates
function M.new(task, r)
  return setmetatable({ task = task, r = r, d = draw.new(r, ""), entities = {}, links = {} }, World)
end

local function last_year(kind, values)
  local last = 0
  for _, fact in ipairs(kind.facts) do
    local v = values[fact[1]]
    local year = fact.type == "Date/Time" and type(v) == "string" and tonumber(v:match("%d%d%d%d"))
    last = math.max(last, year or 0)
  end
  return last
end

-- An entity of the graph: { key, kind = lexicon, subject = names, values = {rel = text or subject}, aliases, level }.
function World:add(kind, subject, level)
  local e = { key = #self.entities > 0 and "e" .. #self.entities or nil, kind = kind, subject = subject, values = {},
    aliases = {}, level = level }
  subject.key, subject.entity, subject.plural = e.key, e, kind.plural
  if subject.article then e.name_aliases = { "The " .. subject.name, "the " .. subject.name } end
  self.entities[#self.entities + 1] = e
  return e
end

--- Draws the value of each relation that has none yet, in the order of the lexicon.
--   wanted  {rel = true} or nil for all
function World:values(e, wanted)
  for _, fact in ipairs(e.kind.facts) do
    local rel = fact[1]
    if e.values[rel] == nil and (not wanted or wanted[rel]) then
      e.values[rel], e.aliases[rel] = fact.draw(self.d, e.subject, e.values)
    end
  end
end

--- The subject of the passage; with `peer` a second one of its kind, named from another walk through the names.
function World:main(domain, seed, index, peer)
  local walk, space = ("%s/%s%s"):format(self.task, domain.name, peer and "/peer" or ""), names.space(domain.model)
  for attempt = 0, 200 do
    local coined = names.nth(domain.model, names.walk(seed, walk, space, index + attempt))
    local subject = domain.subject(self.r, coined)
    if not peer or self.d:free(coined) and subject.kind ~= peer.subject.kind then
      self.d:take(subject.name .. " " .. subject.kind)
      return self:add(domain, subject, 0)
    end
  end
  error("no second " .. domain.name .. " can be named beside " .. peer.subject.name, 0)
end

--- Sets the years by which the works about the subjects are dated: after everything in the subjects' own histories.
function World:set_now()
  local last = 0
  for _, e in ipairs(self.entities) do
    if e.level == 0 then last = math.max(last, last_year(e.kind, e.values)) end
  end
  self.d.now = self.r:int(math.max(1972, last + 6), math.max(1990, last + 9))
  self.d.since = math.max(last + 1, self.d.now - 40)
end

--- An entity that hangs on `from` by a link: from.values[link[1]] becomes its name.
function World:link(from, link)
  local kind = M.kinds[link.to or "person"]
  local e = self:add(kind, kind.subject(self.d, link.role), from.level + 1)
  from.values[link[1]] = e.subject
  self.links[#self.links + 1] = { from = from, to = e, spec = link }
  e.parent, e.link = from, link
  return e
end

--- A branch subject -> work -> person -> place: the three new entities.
--   work, place  elements of links.subject and links.person; place may be nil
function World:branch(from, work, place)
  local a = self:link(from, work)
  local b = self:link(a, links.work[work.to])
  return a, b, place and self:link(b, place)
end

return M
