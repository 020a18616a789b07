-- SPDX-License-Identifier: Apache-2.0
-- What each task promises beyond a valid record: Table 1's counts and lengths, answers that only the named fact gives,
-- hops that cannot be skipped, places that give nothing away.
local t = require "kvbench.testing"
local dataset = require "kvbench.dataset"
local measure = require "kvbench.dataset.measure"

local function words(s)
  local n = 0
  for _ in s:gmatch("%S+") do n = n + 1 end
  return n
end

-- Passages, questions, fewest and most words, mean and its tolerance.
local table1 = {
  base = { 200, 1199, 150, 200, 175, 4 }, knowledge = { 4000, 52000, 27, 37, 32, 1.5 },
  multi_presence = { 100, 1000, 400, 600, 500, 12 }, multi_entity = { 100, 1000, 400, 600, 500, 12 },
  long_context = { 100, 1000, 900, 1300, 1100, 30 }, coreference = { 8000, 72000, 38, 52, 44, 1.5 },
  hops = { 100, 1600, 1080, 1120, 1100, 5 },
}
local names = { "base", "knowledge", "multi_presence", "multi_entity", "long_context", "coreference", "hops" }
local grown = { "base", "multi_presence", "multi_entity", "long_context", "hops" }

local sets = {}
local function all(name, seed)
  local key = name .. seed
  sets[key] = sets[key] or dataset(name, { seed = seed })
  return sets[key]
end

for _, name in ipairs(names) do
  t.case(name .. ": Table 1 at full size, every record valid", function()
    local want, ids, total, repeats = table1[name], {}, 0, 0
    local ds = all(name, "A") -- validates each record
    t.eq({ ds:len(), ds.questions }, { want[1], want[2] })
    for record in ds:records() do
      local n = words(record.passage)
      t.ok(n >= want[3] and n <= want[4], record.id .. " has " .. n .. " words")
      t.ok(not ids[record.id], "repeated id " .. record.id)
      if ids[record.subject] then repeats = repeats + 1 end
      ids[record.id], ids[record.subject], total = true, true, total + n
    end
    t.near(total / ds:len(), want[5], want[6])
    t.ok(repeats <= 2, "subjects repeat " .. repeats .. " times")
    if want[1] > 1000 then sets[name .. "A"] = nil end
  end)
end

t.case("seed B at full size, every record valid and none of A's", function()
  for _, name in ipairs(grown) do
    local seen = {}
    for record in all(name, "A"):records() do seen[record.subject] = true end
    local common = 0
    for record in all(name, "B"):records() do if seen[record.subject] then common = common + 1 end end
    t.eq(all(name, "B").questions, table1[name][2], name)
    t.ok(common <= 0.2 * table1[name][1], name .. ": " .. common .. " subjects of seed A come back")
  end
  for _, name in ipairs { "knowledge", "coreference" } do t.eq(dataset(name, { size = 400, seed = "B" }):len(), 400) end
end)

local pinned = {
  base = "e2941578262b15fcf381c28d3a7fe2db0395e7a57203ffdc90fa2697e690a17b",
  knowledge = "e0bf0652decd1668fc722571b7b5f90b22c4761d13b60a0001d959d0a30272fd",
  multi_presence = "635f496336be1237ca3d0ab8b8fdb23fa23bd2cd0cbe009ee10d0d95793e03d2",
  multi_entity = "d5e362065b0abf86bbab28bd93aee367a20f80aefc0babac57e0329b74ed8c7e",
  long_context = "4dadbe979e8b302a43ef4c1d69ba822c50362d2fb0483a6219d1d844ccd4ba38",
  coreference = "03d80ea03b15513b9fc3cbbb1517d225b3114705c2614554add232f0802ffeb7",
  hops = "1ff760edef9dfa799eb72cfc340939008602cf1adfe8e3c9a0f94cca05a616a8",
}

t.case("the records are these bytes", function()
  for _, name in ipairs(names) do t.eq(dataset(name, { size = 20, seed = "A" }).hash, pinned[name], name) end
end)

local function occurrences(s, needle)
  local n, at = 0, 1
  while true do
    local from, to = s:find(needle, at, true)
    if not from then return n end
    if not s:sub(from - 1, from - 1):match("%w") and not s:sub(to + 1, to + 1):match("%w") then n = n + 1 end
    at = to + 1
  end
end

t.case("an attribute stands in the passage as often as its mentions say, and nowhere else", function()
  for _, name in ipairs(grown) do
    for record in all(name, "A"):records() do
      for _, fact in ipairs(record.facts) do
        t.eq(occurrences(record.passage, fact.value) >= #fact.mentions, true, record.id .. " " .. fact.value)
        local link = false
        for _, other in ipairs(record.facts) do
          link = link or other.relation == "name" and other.value == fact.value
        end
        if not link then
          t.eq(occurrences(record.passage, fact.value), #fact.mentions, record.id .. " " .. fact.relation)
          if name ~= "multi_presence" then t.eq(#fact.mentions, 1, record.id .. " " .. fact.relation) end
        end
      end
    end
  end
end)

-- Sentences that state no fact answer nothing: they hold none of the passage's values.
t.case("what is between the facts holds no value", function()
  for _, name in ipairs(grown) do
    local share = 0
    for record in dataset(name, { size = 30, seed = "B" }):records() do
      local rest, at, spans = {}, 1, {}
      for _, fact in ipairs(record.facts) do
        if fact.relation ~= "name" then for _, m in ipairs(fact.mentions) do spans[#spans + 1] = m.sentence end end
      end
      table.sort(spans, function(a, b) return a[1] < b[1] end)
      for _, s in ipairs(spans) do
        if s[1] + 1 > at then rest[#rest + 1] = record.passage:sub(at, s[1]) end
        at = math.max(at, s[2] + 1)
      end
      rest[#rest + 1] = record.passage:sub(at)
      local other, is_name = table.concat(rest, " "), {}
      for _, fact in ipairs(record.facts) do if fact.relation == "name" then is_name[fact.value] = true end end
      share = share + #other / #record.passage / 30
      for _, fact in ipairs(record.facts) do
        if not is_name[fact.value] then t.eq(occurrences(other, fact.value), 0, record.id .. " " .. fact.value) end
      end
    end
    t.ok(share > 0.12 and share < 0.5, name .. ": share of other text " .. share)
  end
end)

t.case("a reverse question quotes a value that one entity has", function()
  for _, name in ipairs(grown) do
    for record in all(name, "A"):records() do
      local by_id = {}
      for _, fact in ipairs(record.facts) do by_id[fact.id] = fact end
      for _, q in ipairs(record.questions) do
        for _, id in ipairs(q.direction == "reverse" and q.cue_ids or {}) do
          local cue, same = by_id[id], 0
          t.ok(occurrences(q.q, cue.value) == 1, q.q)
          for _, fact in ipairs(record.facts) do
            if fact.relation == cue.relation and fact.value == cue.value then same = same + 1 end
          end
          t.eq(same, 1, q.q)
          if not q.bridge_ids then t.eq(cue.subject, q.a, q.q) end
        end
      end
    end
  end
end)

t.case("answers are spread over the passage", function()
  for _, name in ipairs(grown) do
    local bins, n = { 0, 0, 0, 0, 0 }, 0
    for _, seed in ipairs { "A", "B" } do
      for record in all(name, seed):records() do
        local by_id = {}
        for _, fact in ipairs(record.facts) do by_id[fact.id] = fact end
        for _, q in ipairs(record.questions) do
          local fact = by_id[q.fact_ids[1]]
          if fact.relation ~= "name" then
            local bin = math.floor(fact.mentions[1].value[1] / #record.passage * 5) + 1
            bins[bin], n = bins[bin] + 1, n + 1
          end
        end
      end
    end
    for bin, count in ipairs(bins) do
      local share = count / n
      t.ok(share > 0.10 and share < 0.32, ("%s: fifth %d holds %.2f of the answers"):format(name, bin, share))
    end
  end
end)

t.case("no sentence skeleton comes twice in a passage, no passage or question twice", function()
  for _, name in ipairs(grown) do
    local m = measure.of(all(name, "A"):records())
    t.eq({ m.twice, m.same_passages, m.same_questions }, { 0, 0, 0 }, name)
    t.ok(m.templates > 1000 and m.distinct4 > 0.6, name .. ": " .. m.templates .. " skeletons, " .. m.distinct4)
  end
end)

t.case("no relation has a place of its own", function()
  for _, name in ipairs { "base", "multi_presence" } do
    local total, n = {}, {}
    for _, seed in ipairs { "A", "B" } do
      for record in all(name, seed):records() do
        for _, fact in ipairs(record.facts) do
          if fact.relation ~= "name" then
            local key = record.domain .. "." .. fact.relation
            total[key] = (total[key] or 0) + fact.mentions[1].value[1] / #record.passage
            n[key] = (n[key] or 0) + 1
          end
        end
      end
    end
    for key, sum in pairs(total) do
      if n[key] >= 12 then t.ok(sum / n[key] > 0.1 and sum / n[key] < 0.85, key .. " stands at " .. sum / n[key]) end
    end
  end
end)

t.case("every domain equally often, every answer and question type", function()
  for _, name in ipairs(grown) do
    local domains, kinds, types = {}, {}, {}
    for record in all(name, "A"):records() do
      domains[record.domain] = (domains[record.domain] or 0) + 1
      for _, q in ipairs(record.questions) do
        kinds[q.question_type], types[q.answer_type] = (kinds[q.question_type] or 0) + 1,
          (types[q.answer_type] or 0) + 1
      end
    end
    local count = 0
    for _, n in pairs(domains) do
      count = count + 1
      t.eq(n, table1[name][1] / 10, name)
    end
    t.eq(count, 10, name)
    for _, type in ipairs { "Person", "Thing", "Organization", "Creature", "Location", "Numerals", "Date/Time",
      "Event" } do
      t.ok((types[type] or 0) >= 10, name .. ": few answers of type " .. type)
    end
    if name ~= "hops" then t.ok(kinds.manipulated >= 40 and kinds.part >= 40, name) end
  end
end)

t.case("multi_presence: occasions to be told apart, attributes said again in other words", function()
  local again = 0
  for record in all("multi_presence", "A"):records() do
    local occasions, asked = {}, 0
    for _, fact in ipairs(record.facts) do
      local ordinal = fact.subject:match("^(%a+) ")
      if ordinal == "first" or ordinal == "second" or ordinal == "third" then
        occasions[fact.relation] = (occasions[fact.relation] or 0) + 1
      end
      if fact.relation ~= "name" and #fact.mentions > 1 then
        again = again + 1
        t.ok(fact.mentions[1].template ~= fact.mentions[2].template, record.id)
      end
    end
    local shared = 0
    for _, n in pairs(occasions) do if n == 3 then shared = shared + 1 end end
    t.ok(shared >= 4, record.id .. ": the name and three relations of all three occasions") -- the name is one
    for _, q in ipairs(record.questions) do
      if q.q:find("first ") or q.q:find("second ") or q.q:find("third ") then asked = asked + 1 end
    end
    t.ok(asked >= 3, record.id)
  end
  t.ok(again >= 250, again .. " attributes are stated again")
end)

t.case("long_context: the halves of a part answer stand far apart", function()
  for record in all("long_context", "A"):records() do
    local by_id, parts = {}, 0
    for _, fact in ipairs(record.facts) do by_id[fact.id] = fact end
    for _, q in ipairs(record.questions) do
      if q.question_type == "part" then
        parts = parts + 1
        local a, b = by_id[q.fact_ids[1]].mentions[1].value[1], by_id[q.fact_ids[2]].mentions[1].value[1]
        t.ok(math.abs(a - b) >= 0.38 * #record.passage, record.id .. ": " .. q.q)
      end
    end
    t.ok(parts >= 1, record.id)
  end
end)

t.case("hops: four questions from each level, depths 4, 6, 4, 2", function()
  for record in all("hops", "A"):records() do
    local hop, depth = { 0, 0, 0, 0 }, { 0, 0, 0, 0 }
    for _, q in ipairs(record.questions) do
      hop[q.hop + 1], depth[q.depth + 1] = hop[q.hop + 1] + 1, depth[q.depth + 1] + 1
    end
    t.eq(hop, { 4, 4, 4, 4 }, record.id)
    t.eq(depth, { 4, 6, 4, 2 }, record.id)
  end
end)

t.case("hops: every link is needed", function()
  for record in all("hops", "A"):records() do
    local by_id = {}
    for _, fact in ipairs(record.facts) do by_id[fact.id] = fact end
    for _, q in ipairs(record.questions) do
      local answer = by_id[q.fact_ids[1]]
      -- a second value of the same relation: whoever skips the links has two answers to choose from
      local rivals = 0
      for _, fact in ipairs(record.facts) do
        if fact.relation == answer.relation and fact.subject ~= answer.subject then rivals = rivals + 1 end
      end
      t.ok(rivals >= 1, record.id .. ": " .. q.q)
      for k, id in ipairs(q.bridge_ids or {}) do
        local link = by_id[id]
        -- the bridge's two ends are not both named in the question, and its sentence does not hold the answer
        t.ok(not (q.q:find(link.subject, 1, true) and q.q:find(link.value, 1, true)), q.q)
        local s = link.mentions[1].sentence
        if answer.relation ~= "name" then
          t.ok(not record.passage:sub(s[1] + 1, s[2]):find(answer.value, 1, true), record.id .. ": " .. q.q)
        end
        -- the bridges make a path: each shares an entity with the next
        local after = q.bridge_ids[k + 1] and by_id[q.bridge_ids[k + 1]]
        if after then
          t.ok(link.value == after.subject or link.subject == after.value, record.id .. ": broken path, " .. q.q)
        end
      end
    end
  end
end)
