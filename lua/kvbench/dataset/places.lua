-- SPDX-License-Identifier: Apache-2.0
-- Persons, places and organizations of the template tasks, drawn so that the slots of one passage cannot be confused
-- and nobody known is meant.
local names = require "kvbench.dataset.names"
local pools = require "kvbench.dataset.pools"
local real_names = require "kvbench.dataset.real_names"

local M = {}

local places = {}
for i, text in ipairs(pools.places) do
  local city, region, country = text:match("^(.-), (.-), (.+)$")
  places[i] = { text = text, city = city, region = region, country = country, aliases = { city,
    city .. ", " .. country } }
end

--- n places of different cities and countries; returned one by one.
function M.draw(r, n)
  local drawn, taken = {}, {}
  while #drawn < n do
    local p = r:choice(places)
    if not taken[p.country] then
      taken[p.country] = true
      drawn[#drawn + 1] = p
    end
  end
  return unpack(drawn)
end

--- A composed university name ("Daegu Global Science University") whose city is none of `avoid`.
function M.university(r, avoid)
  while true do
    local city = r:choice(pools.university_cities)
    local clash = false
    for _, p in ipairs(avoid) do clash = clash or p.city == city end
    local name = city .. " " .. r:choice(pools.university_words) .. " " .. r:choice(pools.university_fields)
    if not clash and not real_names.find(name, "Organization", true) then return name end
  end
end

--- Person number i of a seed from a pool of given names: first and last name. No two records of a seed share a name,
-- unless the walk met somebody known and moved on.
function M.person(seed, walk, given, i)
  local space = #given * #pools.surname
  local at = names.walk(seed, walk, space, i)
  while true do
    local first, last = given[at % #given + 1], pools.surname[math.floor(at / #given) + 1]
    if not real_names.find(first .. " " .. last, "Person") then return first, last end
    at = (at + 1) % space
  end
end

--- A composed employer ("Calder Freight Company").
function M.employer(r) return r:choice(pools.employer_words) .. " " .. r:choice(pools.employer_fields) end

return M
