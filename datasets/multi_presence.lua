-- SPDX-License-Identifier: Apache-2.0
-- multi_presence: passages of 500 +- 100 words in which one subject is mentioned again and again, with three
-- occasions of the same kind (first, second, third restoration) whose attributes have to be told apart, and some
-- attributes of the subject stated more than once in other words. Ten questions.
local rng = require "kvbench.rng"
local ask = require "kvbench.dataset.ask"
local discourse = require "kvbench.dataset.discourse"
local record = require "kvbench.dataset.record"
local text = require "kvbench.dataset.text"
local World = require "kvbench.dataset.world"

local WORDS, ordinals = { 400, 600 }, { "first", "second", "third" }
local again = { "As already mentioned, ", "As noted above, ", "To repeat, ", "As was said before, " }

local occasions, uses = {}, { unpack(World.uses) }
for _, name in ipairs(World.domain_names) do
  local module = "kvbench.dataset.occasion." .. name
  occasions[name], uses[#uses + 1] = require(module), module
end

local task = {
  name = "multi_presence", size = 100, doc = "one subject named throughout; three occasions of a kind to be told apart",
  uses = uses,
  rules = { words = WORDS, questions = { 10, 10 }, attributes = 14, answer_words = 12, repeats = true },
}

local function add_occasions(world, domain)
  local kind, main = occasions[domain.name], world.entities[1]
  local base = tonumber(main.values[kind.since]:match("%d%d%d%d")) + kind.plus
  for number, ordinal in ipairs(ordinals) do
    local e = world:add(kind, { name = ordinal .. " " .. kind.noun, article = "the", kind = kind.noun,
      pronouns = { "it", "it", "its", "itself" }, number = number, base = base, step = kind.step }, 0)
    e.name_aliases = { "the " .. e.subject.name, ordinal, "the " .. ordinal }
    world:values(e)
  end
end

local function keep(r, kind, count)
  local rels, wanted = {}, {}
  for i, fact in ipairs(kind.facts) do rels[i] = fact[1] end
  r:shuffle(rels)
  for i = 1, count do wanted[rels[i]] = true end
  return wanted
end

-- The subject in two or three paragraphs, the occasions in one each; returns what an occasion states.
local function write(plan, world, r)
  local main = world.entities[1]
  local opening, covered = plan:opening(main)
  local wanted = keep(r, main.kind, 9)
  for rel in pairs(covered) do wanted[rel] = nil end
  local items = plan:facts(main, wanted)
  plan:add(main, { opening, unpack(items, 1, 2) })
  plan:split(main, { unpack(items, 3) }, 4, main)
  local told = keep(r, world.entities[2].kind, 4)
  for i = 2, 4 do
    local e = world.entities[i]
    local first, states = plan:opening(e, told)
    local rest = {}
    for rel in pairs(told) do rest[rel] = not states[rel] end
    plan:add(e, { first, unpack((plan:facts(e, rest))) }, main)
  end
  plan:order()
  return told
end

-- Some attributes of the subject are stated a second time, at the end of a later paragraph, that names it.
local function restate(plan, main, r, count)
  local stated, done, taken, leads = {}, 0, {}, r:shuffle({ unpack(again) })
  for at, p in ipairs(plan.paragraphs) do
    for _, item in ipairs(p) do
      if item.entity == main and #item.relations == 1 then
        stated[#stated + 1] = { rel = item.relations[1], at = at }
      end
    end
  end
  for _, s in ipairs(r:shuffle(stated)) do
    if done == count then return end
    local later = {}
    for at = s.at + 1, #plan.paragraphs do if not taken[at] then later[#later + 1] = at end end
    local items = #later > 0 and plan:facts(main, { [s.rel] = true }, true) or {}
    if items[1] then
      local at = r:choice(later)
      if text.takes_lead(items[1].template) then items[1].lead = table.remove(leads) end
      table.insert(plan.paragraphs[at], items[1])
      done, taken[at] = done + 1, true
    end
  end
end

local function questions(asker, world, told, r)
  local main, rels = world.entities[1], {}
  for _, fact in ipairs(world.entities[2].kind.facts) do if told[fact[1]] then rels[#rels + 1] = fact[1] end end
  local pairs_left = {}
  for i = 2, 4 do
    for _, rel in ipairs(rels) do
      if asker:states(world.entities[i], rel) then pairs_left[#pairs_left + 1] = { world.entities[i], rel } end
    end
  end
  r:shuffle(pairs_left)
  local function take() return unpack(table.remove(pairs_left)) end
  for _ = 1, 3 do asker:forward(take()) end
  for _ = 1, 2 do asker:reverse(take()) end
  local a, rel = take()
  for i, p in ipairs(pairs_left) do
    if p[1] ~= a then
      asker:part(a, rel, unpack(table.remove(pairs_left, i)))
      break
    end
  end
  local own = {}
  for _, fact in ipairs(main.kind.facts) do if asker:states(main, fact[1]) then own[#own + 1] = fact[1] end end
  r:shuffle(own)
  for i, name in ipairs(own) do
    if asker:manipulated(main, name) then
      table.remove(own, i)
      break
    end
  end
  for _ = 1, 2 do asker:reverse(main, table.remove(own)) end
  while #asker.rec.questions < 10 and #own > 0 do asker:forward(main, table.remove(own)) end
  r:shuffle(asker.rec.questions)
end

--- Record number i (1-based) of a seed.
function task.generate(seed, i)
  local id = ("multi_presence-%s-%04d"):format(seed, i)
  for try = 1, 20 do
    local r = rng.new(("kvbench/multi_presence/%s/%d"):format(id, try))
    local domain, index = World.domain(rng, "multi_presence", seed, i)
    local world = World.new("multi_presence", r)
    local main = world:main(domain, seed, index)
    world:values(main)
    add_occasions(world, domain)
    local plan = discourse.new(world, r)
    local told = write(plan, world, r)
    restate(plan, main, r, r:int(3, 4))
    local length = r:int(440, 560)
    local rec = plan:fit(length - 7, length + 15, discourse.starter(world, id, "multi_presence", record))
    if rec then
      questions(ask.new(rec, world, r), world, told, r)
      if #rec.questions == 10 then return rec:finish { domain = domain.name } end
    end
  end
  error(id .. ": no attempt came out at the right length", 0)
end

return task
