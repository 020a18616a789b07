-- SPDX-License-Identifier: Apache-2.0
-- help(x): the comments of the code are the manual, and this finds the right one. x is a C name ("kvb_prefill"), the
-- name of a module of kv ("press"), a module, a function, or an object with .doc (a press, a model family).
local texts = require "kvbench.cdef"
local manual = require "kvbench.manual"
local paths = require "kvbench.paths"
local text = require "kvbench.text"

local M = {}

M.overview = [==[
The prompt takes Lua; an expression shows its value, and `_` holds the last one. Variables that should live on to the
next line are globals (no `local`). Tab completes names, the arrow keys walk through the history, Ctrl-C stops a
computation.

  model = kv.model.load("smollm2")           a model: registry name, .gguf file or Hugging Face folder
  ctx = model:prefill("Some text.")          its cache, and what was observed while filling it
  keep = kv.press("knorm"):keep(ctx, 0.5)    which half of the cache stays
  ctx:generate("Q: ...", { keep = keep })    an answer from what is left

  help(kv.press)   help("kvb_prefill")   help(x)     the documentation of a module, a C function, anything
  help("tensor.softmax")    help(kv.tensor)           one function of the tensor API, all of it
  help("snapkv")            kv.press.list()           one press with its parameters, all of them
  :help            this text             :quit       leave (or Ctrl-D)
  :time EXPR       runs it and says how long it took   :reload [NAME]  reads your changed modules again
  :heat [EXPR]     a tensor or keep-set as a picture   :png FILE [EXPR]  the same as a figure (EXPR: the last value)]==]

local function lines_of(s)
  local lines = {}
  for line in (s .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  return lines
end

local function file_lines(path)
  local file = io.open(path)
  if not file then return nil end
  local content = file:read("*a")
  file:close()
  return lines_of(content)
end

local function word_in(line, name)
  local code = line:gsub("/%*.-%*/", ""):gsub("/%*.*", "")
  return not code:find("^%s*%*") and code:find("%f[%w_]" .. name .. "%f[^%w_]") ~= nil
end

-- Lines first..last of the declaration at `at`: up to its ';' (or the closing parenthesis of an op), with the comment
-- above, or the whole paragraph when it has no comment of its own.
local function declaration(lines, at)
  local last = at
  if lines[at]:find("[{]%s*$") or lines[at]:find("^%s+[%w_]") then -- inside or opening a struct or enum: all of it
    while at > 1 and not lines[at]:find("^[%a]") do at = at - 1 end
    while last < #lines and not lines[last]:find("^}") do last = last + 1 end
  else
    local function ends(line) return line:find(";") or line:find("^KVB_OP.*%)%)?%s*$") end
    while last < #lines and not ends(lines[last]) do last = last + 1 end
  end
  local first = at
  if lines[first - 1] and lines[first - 1]:find("%*/%s*$") and not lines[first - 1]:find(";") then
    repeat first = first - 1 until first == 1 or lines[first]:find("^%s*/%*")
  elseif not lines[last]:find("/%*") then
    while first > 1 and lines[first - 1]:find("%S") do first = first - 1 end
  end
  return table.concat(lines, "\n", first, last)
end

--- The documentation of a C function, struct or constant, or nil.
function M.of_c(name)
  local op = name:match("^kvb_op_(.+)$")
  if op then
    local lines = lines_of(texts.ops)
    for i, line in ipairs(lines) do
      if line:find("^KVB_OP%(" .. op .. ",") then return declaration(lines, i) end
    end
  end
  local lines = lines_of(texts.header)
  for i, line in ipairs(lines) do if word_in(line, name) then return declaration(lines, i) end end
end

--- Every function that the header or ops.def declares, sorted.
function M.c_names()
  local names, seen = {}, {}
  for name in texts.header:gsub("/%*.-%*/", ""):gmatch("(kvb_[%w_]+)%s*%(") do
    if not seen[name] then seen[name], names[#names + 1] = true, name end
  end
  for op in texts.ops:gmatch("\nKVB_OP%(([%w_]+)") do names[#names + 1] = "kvb_op_" .. op end
  table.sort(names)
  return names
end

local function head(lines)
  local out = {}
  for _, line in ipairs(lines) do
    local comment = line:match("^%-%-%s?(.*)$")
    if not comment then break end
    if not comment:find("SPDX-License-Identifier", 1, true) then out[#out + 1] = comment end
  end
  return #out > 0 and table.concat(out, "\n") or nil
end

-- Text with line breaks where the next word would pass `width`.
local function broken(s, width)
  local out, column = {}, 0
  for word in s:gmatch "%S+" do
    local fits = column + #word + 1 <= width
    out[#out + 1] = (column == 0 and "" or fits and " " or "\n") .. word
    column = (fits and column > 0) and column + #word + 1 or #word
  end
  return table.concat(out)
end

-- What lines first..last of comments say first: a sentence.
local function sentence(lines, first, last)
  local words = {}
  for i = first, last do words[#words + 1] = lines[i]:gsub("^%-+%s*", "") end
  local all = table.concat(words, " ")
  return all:match "^(.-[.:])%s+%u" or all
end

-- The public functions of a module with the first sentence of their comments.
local function members(lines)
  local rows = {}
  for i, line in ipairs(lines) do
    local signature = line:match("^function [%w_]+[.:](%w[%w_]*%b())")
    local first = i
    while lines[first - 1] and lines[first - 1]:find("^%-%-") do first = first - 1 end
    local line_of = signature or ""
    for part in (signature and broken(sentence(lines, first, i - 1), 76) or ""):gmatch "[^\n]+" do
      rows[#rows + 1] = { line_of, part }
      line_of = ""
    end
    if line_of ~= "" then rows[#rows + 1] = { line_of, "" } end
  end
  return #rows > 0 and "\n\n" .. text.columns(rows, "  ") or ""
end

local function of_file(path)
  local lines = file_lines(path)
  return lines and (head(lines) or path) .. members(lines)
end

local function module_path(name)
  for _, form in ipairs { "%s/kvbench/%s.lua", "%s/kvbench/%s/init.lua" } do
    local path = form:format(paths.lua, (name:gsub("%.", "/")))
    local file = io.open(path)
    if file then file:close() return path end
  end
end

local function of_function(fn)
  local info = debug.getinfo(fn, "S")
  local lines = info.source:sub(1, 1) == "@" and file_lines(info.source:sub(2))
  if not lines then return nil end
  local first = info.linedefined
  while lines[first - 1] and lines[first - 1]:find("^%s*%-%-") do first = first - 1 end
  local out = {}
  for i = first, info.linedefined - 1 do out[#out + 1] = (lines[i]:gsub("^%s*%-*%s?", "", 1)) end
  out[#out + 1] = lines[info.linedefined]
  return table.concat(out, "\n") .. ("\n(%s:%d)"):format(info.short_src, info.linedefined)
end

-- The tensor API has many files and one name: "tensor.softmax", "t:softmax", the module, a tensor, one of its
-- functions.
local function of_tensor(x)
  local tensor, core = package.loaded["kvbench.tensor"], package.loaded["kvbench.tensor.core"]
  if x == "tensor" or x == "kv.tensor" or tensor and (rawequal(x, tensor) or tensor.is(x)) then
    return manual.tensor_overview()
  end
  if type(x) == "string" then
    local name = x:match "^tensor[.:]([%w_]+)$" or x:match "^kv%.tensor[.:]([%w_]+)$" or x:match "^t:([%w_]+)$"
    return name and manual.of_tensor(name)
  end
  if type(x) ~= "function" or not tensor then return nil end
  for _, owner in ipairs { core.methods, tensor } do
    for name, fn in pairs(owner) do if rawequal(fn, x) then return manual.of_tensor(name) end end
  end
end

-- A press: its rule, and its parameters with their values here.
local function of_press(x)
  local rows, names = {}, {}
  for name in pairs(x.rule.params or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local declared = x.rule.params[name]
    rows[#rows + 1] = { name, "= " .. (require("kvbench.show").value(x.params[name]):gsub("%s*\n%s*", " ")),
      type(declared) == "table" and declared.doc or "" }
  end
  local out = { ("%s: %s"):format(x.name, x.doc or "(no doc)") }
  if x.rule.formula then out[2] = "score: " .. x.rule.formula end
  out[#out + 1] = x.paper
  if #rows > 0 then out[#out + 1] = "\n" .. text.columns(rows, "  ") end
  return table.concat(out, "\n")
end

--- The text for x, or nil and what could have been meant.
function M.of(x)
  local found = of_tensor(x)
  if found then return found end
  if type(x) == "string" then
    local press = package.loaded["kvbench.press"] or require "kvbench.press"
    local ok, made = pcall(press.new, (x:gsub("^kv%.", ""):gsub("^press%.", "")))
    if ok then return of_press(made) end
    local path = not x:find("^kvb_") and module_path((x:gsub("^kv%.", "")))
    found = path and of_file(path) or x:find("^[%w_]+$") and M.of_c(x)
    if found then return found end
    local names = M.c_names()
    for _, name in ipairs(press.list()) do names[#names + 1] = name end
    return nil, ("no documentation for '%s' %s"):format(x, text.suggest(x, names, 0):gsub("^%-> there.*", ""))
  end
  if type(x) == "function" then return of_function(x) or "a function that is built in or was typed here" end
  for name, module in pairs(package.loaded) do
    if rawequal(module, x) and type(x) == "table" then
      local path = module_path((name:gsub("^kvbench%.?", "")))
      if path then return of_file(path) end
    end
  end
  if type(x) == "table" and type(x.rule) == "table" and x.params then return of_press(x) end
  if type(x) == "table" and type(x.doc) == "string" then
    return (x.name and x.name .. ": " or "") .. x.doc .. (x.paper and "\n" .. x.paper or "")
  end
  if x == nil then return nil, "nothing to explain: help(x) got nil -> is the name misspelt? help() is the overview" end
  return "a " .. type(x) .. ": " .. require("kvbench.show").value(x)
end

--- help(x) of the prompt: prints.
function M.show(...)
  if select("#", ...) == 0 then print(M.overview) return end
  local found, problem = M.of((...))
  print(found or problem)
end

return M
