-- SPDX-License-Identifier: Apache-2.0
-- The words after a subcommand: names and --options in any order, a verb, one usage line
-- when something is not understood.
local args = require "kvbench.args"
local text = require "kvbench.text"

local M = {}

--- An error that ends the run with status 2.
function M.misused(message, ...)
  error(args.finish(2, select("#", ...) > 0 and message:format(...) or message), 0)
end

--- Splits words into names and options: "base", "--seed", "B" -> {"base"}, {seed = "B"}. Options are as kv.args has
-- them: typed by `defaults`; --help ends the run with `usage`.
function M.split(words, defaults, usage)
  local names, rest, i = {}, {}, 1
  while i <= #words do
    local word = words[i]
    if word:find("^%-") and word ~= "-" and not tonumber(word) then
      rest[#rest + 1] = word
      local name = word:match("^%-%-(.+)$")
      local default = name and not name:find("=") and defaults[name:gsub("-", "_")]
      if default ~= nil and type(default) ~= "boolean" and words[i + 1] then
        i = i + 1
        rest[#rest + 1] = words[i]
      end
    else
      names[#names + 1] = word
    end
    i = i + 1
  end
  local options = args.parse(defaults, rest)
  if not options then
    error(args.finish(0, usage), 0)
  end
  return names, options
end

--- Runs the verb words[1] of a subcommand. verbs: name -> function(rest words); overview: what --help prints.
function M.dispatch(command, words, verbs, overview)
  local verb = words[1]
  if verb == nil or verb == "--help" or verb == "-h" then
    if verb then error(args.finish(0, overview), 0) end
    M.misused("kvbench %s wants a verb -> kvbench %s --help", command, command)
  end
  if not verbs[verb] then
    local names = {}
    for name in pairs(verbs) do names[#names + 1] = name end
    M.misused("no command '%s %s' %s", command, verb, text.suggest(verb, names))
  end
  return verbs[verb]({ unpack(words, 2) })
end

return M
