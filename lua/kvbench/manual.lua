-- SPDX-License-Identifier: Apache-2.0
-- The manual is the code's own comments: this reads them. `---` lines above a function describe it; lines indented by
-- five
-- spaces are examples, `expression --> value`. help() prints what is found here, scripts/tensor_manual.lua writes
-- docs/tensor.md from it, and tests/lua/manual_test.lua runs every example.
local paths = require "kvbench.paths"

local M = {}

local function lines_of(path)
  local lines, file = {}, io.open(path)
  if not file then return nil end
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

-- A comment's lines as flowing text and examples.
local function described(comment)
  local words, examples = {}, {}
  for _, line in ipairs(comment) do
    local code = line:match "^     (.*)$"
    if code then
      local expression, value = code:match "^(.-)%s+%-%->%s+(.*)$"
      examples[#examples + 1] = { code = expression or code, value = value }
    elseif line:find "%S" then
      words[#words + 1] = line:match "^%s*(.-)%s*$"
    end
  end
  return table.concat(words, " "), examples
end

--- What a Lua file says about itself: {head = text, entries = {{owner =, name =, signature =, text =, examples =
--- {{code =,
--- value =}}}}}; owner is "T" for methods (t:name), else the table's name in the file; nil without a file.
function M.read(path)
  local lines = lines_of(path)
  if not lines then return nil end
  local head, entries, comment, at = {}, {}, {}, 1
  while lines[at] and lines[at]:find "^%-%-" do
    local text = lines[at]:match "^%-%-%-?%s?(.*)$"
    if not text:find("SPDX-License-Identifier", 1, true) then head[#head + 1] = text end
    at = at + 1
  end
  for i = at, #lines do
    local text = lines[i]:match "^%-%-%-(.*)$"
    local owner, mark, name, arguments = lines[i]:match "^function ([%w_]+)([.:])([%w_]+)(%b())"
    if text then
      comment[#comment + 1] = text
    elseif owner then
      local words, examples = described(comment)
      entries[#entries + 1] = { owner = owner, method = mark == ":", name = name, text = words, examples = examples,
        signature = name .. arguments }
      comment = {}
    else
      comment = {}
    end
  end
  return { head = table.concat(head, " "), entries = entries }
end

--- The parts of the tensor API in reading order, with titles.
M.tensor_parts = {
  { "make", "Making tensors" }, { "random", "Randomness" }, { "views", "Views" }, { "shape", "Shapes and copies" },
  { "math", "Element by element" }, { "reduce", "Reductions" }, { "order", "Order" },
  { "index", "Picking and placing" }, { "join", "Joining and taking apart" }, { "product", "Products and windows" },
  { "moments", "What scores of many heads are made of" },
  { "fuse", "Chains in one pass" }, { "rope", "Rotary position embedding" }, { "linalg", "Linear algebra" }, { "show", "To and from Lua, printing" },
  { "core", "Memory and devices" },
}

--- The tensor API: a list of {title =, head =, entries =} with the public, described functions only; an entry's
--- signature is what a user types.
function M.tensor()
  local tensor, methods = require "kvbench.tensor", require("kvbench.tensor.core").methods
  local parts = {}
  for _, part in ipairs(M.tensor_parts) do
    local file = M.read(paths.lua .. "/kvbench/tensor/" .. part[1] .. ".lua")
    local entries = {}
    for _, entry in ipairs(file.entries) do
      local public = entry.method and methods[entry.name] or not entry.method and rawget(tensor, entry.name)
      if public and entry.text ~= "" then
        entry.signature = (entry.method and "t:" or "tensor.") .. entry.signature
        entries[#entries + 1] = entry
      end
    end
    parts[#parts + 1] = { title = part[2], head = file.head, entries = entries }
  end
  return parts
end

--- One entry as help() prints it.
function M.entry_text(entry)
  local lines = { entry.signature, entry.text }
  for _, e in ipairs(entry.examples) do
    lines[#lines + 1] = "  " .. e.code .. (e.value and "  --> " .. e.value or "")
  end
  return table.concat(lines, "\n")
end

--- The description of a tensor function or method by name, or nil. Both a function and a method of that name: both.
function M.of_tensor(name)
  local found = {}
  for _, part in ipairs(M.tensor()) do
    for _, entry in ipairs(part.entries) do
      if entry.name == name then found[#found + 1] = M.entry_text(entry) end
    end
  end
  return #found > 0 and table.concat(found, "\n\n") or nil
end

--- An overview of the tensor API: one line a function.
function M.tensor_overview()
  local text, out = require "kvbench.text", {}
  for _, part in ipairs(M.tensor()) do
    local rows = {}
    for i, entry in ipairs(part.entries) do
      rows[i] = { entry.signature, (entry.text:match "^(.-[.:;])%s" or entry.text):gsub("[.:;]$", "") }
    end
    out[#out + 1] = part.title .. "\n" .. text.columns(rows, "  ")
  end
  return table.concat(out, "\n")
end

return M
