-- SPDX-License-Identifier: Apache-2.0
-- kvbench scripts/press_table.lua: writes the table of docs/presses.md anew from the rules themselves, between the marks.
-- A test compares the two, so that the table cannot fall behind.
local kv = require "kvbench"
local find = require "kvbench.press_find"
local paths = require "kvbench.paths"

local M = {}
local FROM, TO = "<!-- table: kvbench scripts/press_table.lua -->\n", "<!-- end of table -->\n"

local function aliases(rule)
  local names = {}
  for name in pairs(rule.aliases or {}) do names[#names + 1] = "`" .. name .. "`" end
  table.sort(names)
  return #names > 0 and " (" .. table.concat(names, ", ") .. ")" or ""
end

local function source(rule)
  local id = (rule.paper or ""):match "^arXiv:([%d.]+)$"
  return id and ("[%s](https://arxiv.org/abs/%s)"):format(id, id) or rule.paper or "-"
end

-- What the sets of heads have in common.
local function sets(press, rule)
  if rule.one_set then return "one set per " .. rule.one_set end
  if press.scope == "model" then return "heads, one budget for the model" end
  if press.scope == "layer" then return "heads, one budget per layer" end
  return rule.thresholds and "heads, of different sizes" or "heads"
end

local function needs(press, rule)
  local list = {}
  if press.needs.queries then
    list[#list + 1] = "all queries"
  elseif press.needs.window_queries then
    list[#list + 1] = ("last %d queries"):format(press.needs.window_queries)
  end
  if press.needs.hidden then list[#list + 1] = "hidden states" end
  for _, name in ipairs { "path", "stats_folder" } do
    if rule.params and rule.params[name] then
      list[#list + 1] = rule.params.on_the_fly_scoring and "or a file" or "a file"
    end
  end
  if rule.params and rule.params.question then list[#list + 1] = "the question" end
  if rule.params and rule.params.tokens then list[#list + 1] = "the tokens" end
  return #list > 0 and table.concat(list, ", ") or "-"
end

local function cost(press, rule)
  local list = {}
  if rule.extra_pass then list[#list + 1] = rule.extra_pass end
  if press.ratio_dependent then list[#list + 1] = "one score per ratio" end
  if press.budget ~= "exact" then list[#list + 1] = "budget " .. press.budget end
  if not press.nested then list[#list + 1] = "not nested" end
  return #list > 0 and table.concat(list, "; ") or "-"
end

local function cell(text) return (tostring(text):gsub("|", "\\|")) end

--- The table as Markdown.
function M.text()
  local rows, seen = {}, {}
  for _, name in ipairs(kv.press.list()) do
    local rule, _, file = find.find(name)
    if not seen[rule] and file:find(paths.lua, 1, true) then
      seen[rule] = true
      local press = kv.press(rule.name)
      rows[#rows + 1] = "| " .. table.concat({ "`" .. rule.name .. "`" .. aliases(rule), cell(rule.doc),
        rule.formula and "`" .. cell(rule.formula) .. "`" or "-", source(rule), sets(press, rule), needs(press, rule),
        cost(press, rule) }, " | ") .. " |"
    end
  end
  table.sort(rows)
  return "| press | keeps | score of token j | source | decides for | observes, reads | beside one score |\n"
    .. "|---|---|---|---|---|---|---|\n" .. table.concat(rows, "\n") .. "\n"
end

--- The page with the table in its place, and the page as it is.
function M.page()
  local file = assert(io.open(paths.at "docs/presses.md", "rb"))
  local page = file:read "*a"
  file:close()
  local _, from = page:find(FROM, 1, true)
  local to = page:find(TO, 1, true)
  if not from or not to then error("press_table: docs/presses.md has lost its marks", 0) end
  return page:sub(1, from) .. M.text() .. page:sub(to), page
end

if arg and arg[0] and arg[0]:find "press_table%.lua$" then
  local page = M.page()
  local file = assert(io.open(paths.at "docs/presses.md", "wb"))
  file:write(page)
  file:close()
end

return M
