-- SPDX-License-Identifier: Apache-2.0
-- Values for one passage of the grammar: every draw avoids the words that the passage already uses, so that no slot can
-- be mistaken for another. A draw returns the text and the other forms that count as the same answer.
local names = require "kvbench.dataset.names"
local dates = require "kvbench.dataset.dates"
local real_names = require "kvbench.dataset.real_names"

local M = {}
local Draw = {}
Draw.__index = Draw

-- A list from "gray heron, sea turtle"; line breaks are blanks.
local function items(s)
  local t = {}
  for item in s:gmatch("[^,]+") do t[#t + 1] = item:gsub("%s+", " "):match("^ ?(.-) ?$") end
  return t
end
M.items = items

M.creatures = items [[gray heron, sea turtle, red fox, snow leopard, barn owl, river otter, mountain goat,
  horned viper, black swan, desert hare, white stag, tree frog, golden eagle, brown bear, silver trout, wild boar,
  crested lark, dwarf pony, harvest mouse, thorny lizard, striped badger, ringed seal, marsh crane, tawny bat]]
M.materials = items [[pink granite, black basalt, yellow sandstone, white marble, glazed brick, blue slate,
  oak timber, green soapstone, river clay, volcanic tuff, polished limestone, hammered iron]]
M.nationalities = items [[Argentine, Norwegian, Kenyan, Portuguese, Vietnamese, Finnish, Moroccan, Chilean, Polish,
  Ghanaian, Turkish, Canadian, Croatian, Peruvian, Estonian, Jordanian]]
M.event_heads = items [[Festival, Feast, Night, Procession, Parade, Vigil, Fair, Gathering, Pageant, Carnival,
  Jubilee, Week]]
M.event_tails = items [[Masks, Lanterns, Seven Bells, Empty Boats, First Snow, Paper Wings, Salt, Quiet Drums,
  Red Threads, Ashes, Long Tables, Broken Bread, Wooden Horses, Sleeping Dogs, Blue Smoke, Old Coats,
  Ten Thousand Candles, Painted Eggs, White Ribbons, New Wine]]
M.adjectives = items [[Glass, Paper, Velvet, Hollow, Amber, Scarlet, Winter, Silent, Copper, Broken, Distant,
  Burning, Ivory, Electric, Crooked, Drowned]]
M.nouns = items [[Harvest, Weather, Horizon, Cathedral, Orchard, Machine, Tides, Garden, Mirror, Railway, Letters,
  Kingdom, Avalanche, Carnival, Pilgrim, Equation]]

--- A drawer for one passage.
--   r      its stream
--   taken  words that are in use already (the subject's name)
function M.new(r, taken)
  local d = setmetatable({ r = r, used = {} }, Draw)
  d:take(taken)
  return d
end

local small = { a = true, an = true, at = true, of = true, on = true, the = true, ["in"] = true, ["and"] = true,
  from = true, under = true }

function Draw:take(text)
  for word in text:lower():gmatch("[%w']+") do if not small[word] then self.used[word] = true end end
end

function Draw:free(text)
  for word in text:lower():gmatch("[%w']+") do if self.used[word] then return false end end
  return true
end

-- Draws until the words are new to the passage and the name is nobody's; the pools are far larger than a passage.
-- A third result of `make` is the part of the text that has to be new (a number without its unit).
function Draw:fresh(type, make)
  for _ = 1, 1000 do
    local text, aliases, part = make(self.r)
    if self:free(part or text) and not real_names.find(text, type) then
      self:take(part or text)
      return text, aliases
    end
  end
  error(("no fresh %s left for a passage, such as '%s' -> widen its pool"):format(type, (make(self.r))), 0)
end

--- One of a list of texts.
function Draw:pick(list, type) return self:fresh(type or "Thing", function(r) return r:choice(list) end) end

--- A person with a coined surname.
function Draw:person() return self:fresh("Person", function(r) return (names.person(r)) end) end

--- A coined place name: model "town" or "land".
function Draw:place(model) return self:fresh("Location", function(r) return names.coin(r, model or "town") end) end

--- A coined organization, "Kelmora Heritage Society"; `kinds` is a list of endings.
function Draw:org(kinds)
  return self:fresh("Organization", function(r) return names.coin(r, "org") .. " " .. r:choice(kinds) end)
end

--- A year as text.
function Draw:year(from, to) return self:fresh("Date/Time", function(r) return tostring(r:int(from, to)) end) end

--- The year of the first, second, ... of a row of occasions: subject.base is the year after which they begin, .step the
-- stretch of years for each, .number which one it is.
function Draw:when(subject)
  local from = subject.base + (subject.number - 1) * subject.step
  return self:year(from, from + subject.step - 1)
end

--- A full date.
function Draw:date(from, to)
  return self:fresh("Date/Time", function(r)
    local d = dates.draw(r, from, to)
    return d.text, d.aliases
  end)
end

local function thousands(n)
  local s = tostring(n)
  while true do
    local k
    s, k = s:gsub("^(%d+)(%d%d%d)", "%1,%2")
    if k == 0 then return s end
  end
end

--- A number, a multiple of `step`, with an optional unit ("134 meters"; the bare number counts too).
function Draw:number(from, to, step, unit)
  step = step or 1
  return self:fresh("Numerals", function(r)
    local n = r:int(math.ceil(from / step), math.floor(to / step)) * step
    local text, aliases = thousands(n), {}
    local part = tostring(n) .. " " .. text:gsub(",000", ""):gsub(",", " ")
    if text ~= tostring(n) then aliases[1] = tostring(n) end
    if not unit then return text, aliases, part end
    for i = 1, #aliases do aliases[i] = aliases[i] .. " " .. unit end
    aliases[#aliases + 1] = text
    return text .. " " .. unit, aliases, part
  end)
end

--- A named event, "Festival of Masks".
function Draw:event()
  return self:fresh("Event", function(r) return r:choice(M.event_heads) .. " of " .. r:choice(M.event_tails) end)
end

--- A title of a work, "Hollow Orchard".
function Draw:title() return self:fresh("Thing", function(r) return r:choice(M.adjectives) .. " "
  .. r:choice(M.nouns) end) end

return M
