-- SPDX-License-Identifier: Apache-2.0
-- Passages about a subject and what hangs on it (multi_entity, long_context): branches subject -> work -> person ->
-- place, some facts of each, and ten questions whose answers are spread over the whole length.
local rng = require "kvbench.rng"
local ask = require "kvbench.dataset.ask"
local discourse = require "kvbench.dataset.discourse"
local links = require "kvbench.dataset.links"
local record = require "kvbench.dataset.record"
local World = require "kvbench.dataset.world"

local M = {}

--- Modules whose sources the hash of a task made with this one covers.
M.uses = { "kvbench.dataset.essay", unpack(World.uses) }

local function some(r, kind, count)
  local rels, wanted = {}, {}
  for i, fact in ipairs(kind.facts) do rels[i] = fact[1] end
  r:shuffle(rels)
  for i = 1, math.min(count, #rels) do wanted[rels[i]] = true end
  return wanted
end

-- Draws the graph: shape.branches = how many branches; every kind of work and place at most once, so that kinds and
-- phrases mean one thing.
local function grow(world, r, shape)
  local main = world.entities[1]
  world:values(main)
  world:set_now()
  local works, places = r:shuffle({ unpack(links.subject) }), r:shuffle({ unpack(links.person) })
  for b = 1, shape.branches do world:branch(main, works[b], b <= shape.places and places[b] or nil) end
  for i = 2, #world.entities do
    local e = world.entities[i]
    world:values(e, some(r, e.kind, r:int(shape.side[1], shape.side[2])))
  end
end

local function write(plan, world, r, shape)
  local main = world.entities[1]
  local opening, covered = plan:opening(main)
  local wanted = some(r, main.kind, shape.main)
  for rel in pairs(covered) do wanted[rel] = nil end
  local items = plan:facts(main, wanted)
  plan:add(main, { opening, unpack(items, 1, 3) })
  if #items > 3 then plan:split(main, { unpack(items, 4) }, 4, main) end
  for i = 2, #world.entities do
    local e = world.entities[i]
    local stated = {}
    for _, fact in ipairs(e.kind.facts) do stated[fact[1]] = e.values[fact[1]] ~= nil end
    local facts = plan:facts(e, stated)
    plan:chapter(e, plan:link(e), facts)
  end
  plan:order()
end

-- Stated facts with their place (share of the passage), in text order.
local function stated(asker, world)
  local out, length = {}, asker.rec.builder.bytes
  for _, e in ipairs(world.entities) do
    local rels = {}
    for _, fact in ipairs(e.kind.facts) do rels[#rels + 1] = fact[1] end
    for _, link in ipairs(world.links) do if link.from == e then rels[#rels + 1] = link.spec[1] end end
    for _, rel in ipairs(rels) do
      local fact = asker.rec.builder.facts[ask.key(e, rel)]
      if fact then
        out[#out + 1] = { e = e, rel = rel, at = fact.mentions[1].value[1] / length,
          link = type(e.values[rel]) == "table" }
      end
    end
  end
  table.sort(out, function(a, b) return a.at < b.at end)
  return out
end

-- One fact of each of n equal stretches of the passage, drawn among those that `fits` lets through.
local function spread(r, facts, n, used, fits)
  local picked = {}
  for k = 1, n do
    local here, any = {}, {}
    for _, f in ipairs(facts) do
      if not used[f] and fits(f) then
        any[#any + 1] = f
        if f.at >= (k - 1) / n and f.at < k / n then here[#here + 1] = f end
      end
    end
    local f = #here > 0 and r:choice(here) or #any > 0 and r:choice(any)
    if f then
      used[f] = true
      picked[#picked + 1] = f
    end
  end
  return picked
end

-- Two facts that stand at least `gap` of the passage apart, of different entities.
local function distant(r, facts, used, gap)
  local pairs_found = {}
  for i, a in ipairs(facts) do
    for j = i + 1, #facts do
      local b = facts[j]
      if a.e ~= b.e and not used[a] and not used[b] and not a.link and not b.link and b.at - a.at >= gap then
        pairs_found[#pairs_found + 1] = { a, b }
      end
    end
  end
  if #pairs_found == 0 then return end
  local p = r:choice(pairs_found)
  used[p[1]], used[p[2]] = true, true
  if r:uniform() < 0.5 then return p[2], p[1] end
  return p[1], p[2]
end

-- Ways to start from a named ancestor or descendant of a fact's entity.
local function anchors(world, f, most)
  local out = {}
  local e, steps = f.e.parent, 1
  while e and steps <= most do
    out[#out + 1] = e
    e, steps = e.parent, steps + 1
  end
  for _, link in ipairs(world.links) do if link.from == f.e then out[#out + 1] = link.to end end
  return out
end

local function questions(asker, world, r, shape)
  local facts, used = stated(asker, world), {}
  local want = shape.questions
  for _, f in ipairs(spread(r, facts, want.manipulated, used, function(f)
    return asker:spec(f.e, f.rel).manipulated ~= nil
  end)) do asker:manipulated(f.e, f.rel) end
  for _ = 1, want.part do
    local a, b = distant(r, facts, used, shape.gap)
    if a then asker:part(a.e, a.rel, b.e, b.rel) end
  end
  for _, f in ipairs(spread(r, facts, want.bridge, used, function(f)
    return not f.link and #anchors(world, f, 2) > 0 and asker:choose(asker:spec(f.e, f.rel).ask, "x") ~= nil
  end)) do asker:forward(f.e, f.rel, r:choice(anchors(world, f, 2))) end
  for _, f in ipairs(spread(r, facts, want.reverse, used, function(f)
    return asker:spec(f.e, f.rel).reverse ~= nil
  end)) do asker:reverse(f.e, f.rel) end
  if want.about > 0 then asker:about() end
  local left = want.total - #asker.rec.questions
  for _, f in ipairs(spread(r, facts, left, used, function() return true end)) do asker:forward(f.e, f.rel) end
  r:shuffle(asker.rec.questions)
end

--- Record number i (1-based) of a seed.
--   task   its name
--   shape  words = {min, max}, aim = {min, max} (the length is drawn between these), branches, places, main = facts of
--          the subject, side = {min, max} facts of the others, gap = distance of the halves of a part answer,
--          questions = {total, manipulated, part, bridge, reverse, about}
function M.generate(task, seed, i, shape)
  local id = ("%s-%s-%04d"):format(task, seed, i)
  for try = 1, 20 do
    local r = rng.new(("kvbench/%s/%s/%d"):format(task, id, try))
    local domain, index = World.domain(rng, task, seed, i)
    local world = World.new(task, r)
    world:main(domain, seed, index)
    grow(world, r, shape)
    local plan = discourse.new(world, r)
    write(plan, world, r, shape)
    local length = r:int(shape.aim[1], shape.aim[2])
    local rec = plan:fit(math.max(shape.words[1], length - 7), math.min(shape.words[2], length + 15),
      discourse.starter(world, id, task, record))
    if rec then
      questions(ask.new(rec, world, r), world, r, shape)
      if #rec.questions == shape.questions.total then return rec:finish { domain = domain.name } end
    end
  end
  error(id .. ": no attempt came out at the right length", 0)
end

return M
