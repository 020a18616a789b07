-- SPDX-License-Identifier: Apache-2.0
-- The text that needles are hidden in, and the writer that puts both together and notes every span.
local M = {}

local noise = { "The day was mild and the road was dry.", "A cart stood by the gate.", "Nothing else was to be seen.",
  "The grass was green and the sky was blue.", "One could walk for a while and turn back." }

-- Sentences of our own base passages of a seed nobody uses: fluent, varied, full of facts about other things.
local prose
local function sentences_of_prose()
  if prose then return prose end
  prose = {}
  local task = require("kvbench.dataset").task("base")
  for i = 1, 60 do
    local passage = task.generate("haystack", i).passage .. " "
    for sentence in passage:gmatch("(.-[.!?])%s") do prose[#prose + 1] = sentence end
  end
  return prose
end

--- Sentence number i (from 1) of a haystack; starts at a random one, so that passages differ.
function M.sentences(kind, r)
  local list
  if kind == "noise" then list = noise
  elseif kind == "prose" then list = sentences_of_prose()
  else error(("dataset: haystack '%s' -> noise or prose"):format(tostring(kind)), 0) end
  local shift = kind == "noise" and 0 or r:int(0, #list - 1)
  return function(i) return list[(i - 1 + shift) % #list + 1] end
end

--- A needle: its parts before the key, between key and value, after; writes itself and returns the mention's spans.
function M.needle(before, key, between, value, after)
  return function(w)
    local from = w.at
    w.put(before)
    local k = w.put(key)
    w.put(between)
    local v = w.put(value)
    w.put(after)
    return { sentence = { from, w.at }, value = v, binding = { k } }
  end
end

local function writer()
  local w = { parts = {}, at = 0 }
  function w.put(s)
    w.parts[#w.parts + 1] = s
    local from = w.at
    w.at = from + #s
    return { from, w.at }
  end
  return w
end
M.writer = writer

--- n sentences of hay with needles[k] after the sentence number places[k] (0 = before the first; ascending). Returns
-- the text and the needles' mentions.
function M.assemble(sentence, n, needles, places)
  local w, mentions, next_needle = writer(), {}, 1
  for i = 0, n do
    if i > 0 then w.put((w.at > 0 and " " or "") .. sentence(i)) end
    while needles[next_needle] and places[next_needle] <= i do
      if w.at > 0 then w.put(" ") end
      mentions[next_needle] = needles[next_needle](w)
      next_needle = next_needle + 1
    end
  end
  return table.concat(w.parts), mentions
end

--- The largest n for which fits(n) holds, from 0; an error when not even 0 does.
function M.most(fits, what)
  if not fits(0) then error(("dataset: length is too short for %s -> make it longer"):format(what), 0) end
  local low, high = 0, 8
  while fits(high) do low, high = high, high * 2 end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if fits(middle) then low = middle else high = middle end
  end
  return low
end

--- k places among n sentences, ascending; with `depth` (0 .. 1) all at that depth.
function M.places(r, k, n, depth)
  local places = {}
  for i = 1, k do places[i] = depth and math.floor(depth * n + 0.5) or r:int(0, n) end
  table.sort(places)
  return places
end

return M
