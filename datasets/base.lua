-- SPDX-License-Identifier: Apache-2.0
-- base: passages of 175 +- 25 words about one invented subject with tightly bound attributes, six questions each; one
-- passage has five, as in the paper's Table 1 (200 passages, 1,199 questions). Sentences: kvbench.dataset.domain.*
local rng = require "kvbench.rng"
local ask = require "kvbench.dataset.ask"
local discourse = require "kvbench.dataset.discourse"
local record = require "kvbench.dataset.record"
local World = require "kvbench.dataset.world"

local SHORT_PASSAGE = 100 -- the one that has five questions

local task = {
  name = "base", size = 200, doc = "one invented subject, tightly bound attributes, six questions in both directions",
  uses = World.uses,
  rules = { words = { 150, 200 }, questions = { 5, 6 }, attributes = 4, answer_words = 8 },
}

-- An opening, then 8 or 9 attributes in random order.
local function write(plan, e, r)
  local opening, covered = plan:opening(e)
  local rels, wanted, count = {}, {}, r:int(8, 9)
  for rel in pairs(covered) do count = count - (rel and 1 or 0) end
  for _, fact in ipairs(e.kind.facts) do if not covered[fact[1]] then rels[#rels + 1] = fact[1] end end
  r:shuffle(rels)
  for i = 1, count do wanted[rels[i]] = true end
  plan:add(e, { opening, unpack((plan:facts(e, wanted))) })
end

-- Two or three questions ask for the subject; of the others some ask for a part of a value, or for two at once.
local function questions(asker, e, r, total)
  local stated, reverse = {}, r:int(2, 3)
  for _, fact in ipairs(e.kind.facts) do if asker:states(e, fact[1]) then stated[#stated + 1] = fact[1] end end
  r:shuffle(stated)
  if r:uniform() < 0.35 then
    asker:about()
    reverse = reverse - 1
  end
  for _ = 1, reverse do asker:reverse(e, table.remove(stated)) end
  if r:uniform() < 0.5 then
    for i, rel in ipairs(stated) do
      if asker:manipulated(e, rel) then
        table.remove(stated, i)
        break
      end
    end
  end
  if r:uniform() < 0.35 then asker:pair(e) end
  while #asker.rec.questions < total do asker:forward(e, table.remove(stated)) end
  r:shuffle(asker.rec.questions)
end

--- Record number i (1-based) of a seed.
function task.generate(seed, i)
  local id = ("base-%s-%04d"):format(seed, i)
  for try = 1, 20 do
    local r = rng.new(("kvbench/base/%s/%d"):format(id, try))
    local domain, index = World.domain(rng, "base", seed, i)
    local world = World.new("base", r)
    local e = world:main(domain, seed, index)
    world:values(e)
    local plan = discourse.new(world, r)
    write(plan, e, r)
    local length = r:int(163, 186) -- fillers are added until the least is reached, so it lies nearer to the aim
    local rec = plan:fit(length - 6, length + 13, discourse.starter(world, id, "base", record))
    if rec then
      questions(ask.new(rec, world, r), e, r, i == SHORT_PASSAGE and 5 or 6)
      return rec:finish { domain = domain.name }
    end
  end
  error(id .. ": no attempt came out at the right length", 0)
end

return task
