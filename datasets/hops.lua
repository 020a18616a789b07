-- SPDX-License-Identifier: Apache-2.0
-- hops: passages of 1,100 +- 20 words about a subject and three entities linked in a chain (subject -> work ->
-- person -> place), beside a second, unrelated chain of the same kinds about a subject that the first is compared with.
-- Sixteen questions: one for each entity that a question may start from and each that it may ask about, so every `hop`
-- (where the question starts) has four questions, and `depth` (links that the reader has to follow) counts 4, 6, 4, 2.
-- The second chain states the same relations: without following the links, two answers fit.
local rng = require "kvbench.rng"
local ask = require "kvbench.dataset.ask"
local discourse = require "kvbench.dataset.discourse"
local links = require "kvbench.dataset.links"
local record = require "kvbench.dataset.record"
local World = require "kvbench.dataset.world"

local WORDS = { 1080, 1120 }

local function set(list)
  local t = {}
  for _, v in ipairs(list) do t[v] = true end
  return t
end

-- Relations of a kind that can be asked about through a phrase ("the book about X" has no possessive).
local function askable(kind)
  local out = {}
  for _, fact in ipairs(kind.facts) do
    for _, q in ipairs(fact.ask) do
      if not q:find("{N's}", 1, true) then
        out[#out + 1] = fact[1]
        break
      end
    end
  end
  return out
end

local function chain(world, subject, work, place)
  local a, b, c = world:branch(subject, work, place)
  return { subject, a, b, c }
end

-- Sentences for one level of both chains, the rival's first: it states five relations, always with its subject named.
local function level_sentences(plan, e, rival, opening_covers, r)
  local list = r:shuffle(askable(e.kind))
  local theirs, covered = plan:facts(rival, set { unpack(list, 1, 5) }, true)
  local wanted = {}
  for _, fact in ipairs(e.kind.facts) do wanted[fact[1]] = e.values[fact[1]] ~= nil and not opening_covers[fact[1]] end
  local ours, stated = plan:facts(e, wanted, true)
  local more, also = plan:facts(e, (function()
    local rest = {}
    for rel, yes in pairs(wanted) do rest[rel] = yes and not stated[rel] end
    return rest
  end)())
  for _, item in ipairs(more) do ours[#ours + 1] = item end
  local asked = {}
  for _, rel in ipairs(list) do
    local told = stated[rel] or also[rel] or opening_covers[rel]
    if #asked < 4 and covered[rel] and told then asked[#asked + 1] = rel end
  end
  return r:shuffle(ours), theirs, asked
end

-- Plans both chains; returns the relations to ask about, level by level, or nil when too few can be stated in both.
local function paragraphs(plan, first, second, r)
  local rel = {}
  for level, e in ipairs(first) do
    local rival, opening, covers = second[level], nil, {}
    if level == 1 then opening, covers = plan:opening(e) end
    local ours, theirs, asked = level_sentences(plan, e, rival, covers, r)
    if #asked < 4 then return nil end
    rel[level] = asked
    if level == 1 then
      plan:add(e, { opening, unpack(ours, 1, 3) })
      plan:split(e, { unpack(ours, 4) }, 5, e)
    else
      plan:chapter(e, plan:link(e), ours)
    end
    plan:add(rival, { plan:link(rival), unpack(theirs) }, rival.parent)
  end
  return rel
end

-- Every ordered pair of levels: start h, asked t.
local function questions(asker, levels, rel, r)
  local left = {}
  for i = 1, 4 do left[i] = r:shuffle({ unpack(rel[i]) }) end
  local up = r:uniform() < 0.5 -- whether the long ways up end at a name or at an attribute
  local diagonal = r:shuffle { true, true, false, false }
  for h = 1, 4 do
    for t = 1, 4 do
      local e, to = levels[h], levels[t]
      if h == t then
        local relation = table.remove(left[t])
        if diagonal[h] then asker:reverse(e, relation) else asker:forward(e, relation) end
      elseif h < t then
        asker:forward(to, table.remove(left[t]), e)
      else
        if up then asker:reverse_up(e, r:choice(rel[h]), to) else asker:forward(to, table.remove(left[t]), e) end
        up = not up
      end
    end
  end
end

local task = {
  name = "hops", size = 100, doc = "a chain of four entities and a rival chain; questions over up to three links",
  uses = World.uses,
  rules = { words = WORDS, questions = { 16, 16 }, attributes = 24, answer_words = 8 },
}

-- One attempt at a record; nil when the drawn values leave too few sentences to state them in.
local function attempt(seed, i, id, r)
  local domain, index = World.domain(rng, "hops", seed, i)
  local world = World.new("hops", r)
  local main = world:main(domain, seed, index)
  local peer = world:main(domain, seed, index, main)
  world:values(main)
  world:values(peer)
  world:set_now()
  local work, place = r:choice(links.subject), r:choice(links.person)
  local first = chain(world, main, work, place)
  peer.parent, peer.link, main.values.peer = main, links.peer, peer.subject
  world.links[#world.links + 1] = { from = main, to = peer, spec = links.peer }
  local second = chain(world, peer, work, place)
  for level = 1, 4 do
    world:values(first[level])
    world:values(second[level])
  end
  local plan = discourse.new(world, r)
  local rel = paragraphs(plan, first, second, r)
  if not rel then return nil end
  plan:order()
  local rec = plan:fit(WORDS[1] + 12, WORDS[2] - 2, discourse.starter(world, id, "hops", record))
  if not rec then return nil end
  questions(ask.new(rec, world, r), first, rel, r)
  r:shuffle(rec.questions)
  return rec:finish { domain = domain.name }
end

--- Record number i (1-based) of a seed.
function task.generate(seed, i)
  local id = ("hops-%s-%04d"):format(seed, i)
  for try = 1, 20 do
    local made = attempt(seed, i, id, rng.new(("kvbench/hops/%s/%d"):format(id, try)))
    if made then return made end
  end
  error(id .. ": no attempt could state enough relations in both chains", 0)
end

return task
