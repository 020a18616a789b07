-- SPDX-License-Identifier: Apache-2.0
-- How an entity is called at a place in the text: full name, short name, "the band", or a pronoun. Centering in its
-- simplest form: a pronoun only for what the sentence before was about, a kind only where it can mean one thing.
local template = require "kvbench.dataset.template"

local M = {}

--- A set of the words of a text.
function M.set(s)
  local t = {}
  for word in s:gmatch("%S+") do t[word] = true end
  return t
end

--- The words of a form other than the full name.
function M.words(entity, form, possessive)
  if form == "pronoun" then return entity.pronouns[possessive and 3 or 1] end
  local words = form == "short" and entity.short or "the " .. entity.kind
  return possessive and template.possessive(words) or words
end

-- "the town" names this entity: no other of its kind is in the passage, or the sentence before spoke of this one.
local function kind_is_clear(b, entity)
  if not b:state(entity).antecedent then return false end
  return (b.kinds[entity.kind] or 0) <= 1 or b.topic == entity or (b.introduced == entity and not b.rival_introduced)
end

--- The form of {K}: the kind, unless it would be unclear. Names in the plural keep the kind: the verb agrees with it.
function M.kind(b, entity)
  if entity.plural or kind_is_clear(b, entity) or not b:state(entity).antecedent and b.kinds[entity.kind] == 1 then
    return "kind"
  end
  return entity.short and b:state(entity).antecedent and "short" or "name"
end

--- The form of {S}. A pronoun only as the first word of a sentence after one about the same entity: anywhere else it
-- may mean another noun.
function M.pick(b, entity, first)
  local state = b:state(entity)
  if not state.antecedent then return "name" end
  local u = b.r:uniform()
  if b.fresh_paragraph then
    if u < 0.6 then return "name" end
  elseif first and b.topic == entity and state.run < 2 and not b.pronoun_taken and u < 0.5 then
    return "pronoun"
  end
  if state.form == "name" or u < 0.78 then
    if entity.short and (u < 0.62 or not kind_is_clear(b, entity)) then return "short" end
    if kind_is_clear(b, entity) then return "kind" end
  end
  return entity.short and u < 0.8 and "short" or "name"
end

--- Notes what a finished sentence was about.
--   first  whether it began with its subject; form: the last form used; found: the values it stated
function M.after(b, first, form, found)
  local entity, state = b.subject, b:state(b.subject)
  b.topic = first and entity or nil
  b.introduced, b.rival_introduced, b.pronoun_taken, b.fresh_paragraph = nil, false, false, false
  state.form = form
  state.run = form == "pronoun" and state.run + 1 or 0
  local personal = entity.pronouns[1] ~= "it"
  for _, v in ipairs(found) do
    if v.entity then
      b.introduced = v.entity
      b.rival_introduced = v.entity.kind == entity.kind
      if v.entity.pronouns[1] == entity.pronouns[1] then b.pronoun_taken = true end
      b:state(v.entity).form = "name"
    elseif personal and v.person then
      b.pronoun_taken = true
    end
  end
end

return M
