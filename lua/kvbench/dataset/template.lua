-- SPDX-License-Identifier: Apache-2.0
-- The template language of sentences and questions.
--
-- One sentence per template:
--   <rel>        the value of fact `rel`                     [words]   relation words of the next <rel>, or the last
--   {S} {S's}    the subject, in a form the builder picks    (a|b)     one of the alternatives, drawn at random
--   {N} {N's}    the subject's full name                     {K} {K's} the subject as a kind: "the band"
--   {he} {him} {his} {himself}   the subject's pronouns      a/an      written as "a(n) ", resolved by what follows
--   {kind}       the kind alone: "band"                      [rel:words]   relation words of `rel`
--   {key}        filler text from `fill`, not a fact
-- {S} is the full name at first, later also "the band", a short name or a pronoun.
local M = {}

--- "an" or "a" for the word that follows. Letters and numbers by sound, for the words that the templates use.
function M.article(following)
  local word = following:lower():match("^[%w']+") or ""
  if word:match("^8") or word == "11" or word == "18" then return "an" end
  if word:match("^uni[^mn]") or word:match("^us[aeu]") or word:match("^eu") or word:match("^one") then return "a" end
  if word:match("^hour") or word:match("^hono") or word:match("^heir") then return "an" end
  return word:match("^[aeiou]") and "an" or "a"
end

--- "Orin's", "the Alders'": the English possessive.
function M.possessive(name) return name .. (name:match("s$") and "'" or "'s") end

--- A name as a sentence has it: with its article, or in quotes when it is a title.
function M.display(entity)
  if entity.quote then return '"' .. entity.name .. '"' end
  return entity.article and entity.article .. " " .. entity.name or entity.name
end

-- Splits the inside of (a|b|c); the bars of nested brackets do not count because templates do not nest parentheses.
local function alternatives(inside)
  local list = {}
  for part in (inside .. "|"):gmatch("(.-)|") do list[#list + 1] = part end
  return list
end

--- Draws every (a|b) of a template; parentheses without a bar stay as they are. The rest of the template is untouched.
function M.choose(template, r)
  return (template:gsub("%(([^()]*)%)", function(inside)
    if inside:find("|", 1, true) then return r:choice(alternatives(inside)) end
  end))
end

local function tokenize(template)
  local pieces, at = {}, 1
  while at <= #template do
    local from, to, kind, body
    for _, p in ipairs { { "value", "<([%w_]+)>" }, { "slot", "{([%w_']+)}" }, { "relation", "%[([^%]]*)%]" },
      { "article", "([Aa]%(n%) )" } } do
      local f, t, b = template:find(p[2], at)
      if f and (not from or f < from) then from, to, kind, body = f, t, p[1], b end
    end
    if not from then
      pieces[#pieces + 1] = { kind = "text", body = template:sub(at) }
      break
    end
    if from > at then pieces[#pieces + 1] = { kind = "text", body = template:sub(at, from - 1) } end
    pieces[#pieces + 1] = { kind = kind, body = body }
    at = to + 1
  end
  return pieces
end

local cache = {}

-- Pieces of a template, each relation knowing the value that it speaks of. Cached: templates are few, sentences many.
function M.compile(template)
  local pieces = cache[template]
  if pieces then return pieces end
  pieces = tokenize(template)
  for i, piece in ipairs(pieces) do
    if piece.kind == "relation" then
      local after, before
      for j = #pieces, i + 1, -1 do if pieces[j].kind == "value" then after = pieces[j].body end end
      for j = 1, i - 1 do if pieces[j].kind == "value" then before = pieces[j].body end end
      local named, words = piece.body:match("^([%w_]+):(.*)$")
      piece.of, piece.body = named or after or before, words or piece.body
    end
  end
  cache[template] = pieces
  return pieces
end

--- The relations whose values a template states, in order of first appearance.
function M.relations(template)
  local list, seen = {}, {}
  for rel in template:gmatch("<([%w_]+)>") do
    if not seen[rel] then
      seen[rel] = true
      list[#list + 1] = rel
    end
  end
  return list
end

--- Plain substitution for questions: `map` gives the text of each {slot} and `values` of each <rel>. No spans.
function M.fill(template, map, values)
  local out = template:gsub("{([%w_']+)}", function(key)
    return map[key] or error("template '" .. template .. "' has no filler for {" .. key .. "}", 0)
  end)
  out = out:gsub("<([%w_]+)>", function(rel)
    return values[rel] or error("template '" .. template .. "' has no value for <" .. rel .. ">", 0)
  end)
  out = out:gsub("a%(n%) ()", function(at) return M.article(out:sub(at)) .. " " end)
  return (out:gsub("^%l", string.upper))
end

--- Words of a text, as the tables of sizes count them: runs of non-space.
function M.words(s)
  local n = 0
  for _ in s:gmatch("%S+") do n = n + 1 end
  return n
end

return M
