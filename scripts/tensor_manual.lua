-- SPDX-License-Identifier: Apache-2.0
-- kvbench scripts/tensor_manual.lua > docs/tensor.md: the tensor API's manual from the comments of
-- lua/kvbench/tensor/*.lua.
-- tests/lua/manual_test.lua says when the file is out of date.
local manual = require "kvbench.manual"

local out = {}
local function put(line) out[#out + 1] = line end

-- Text cut into lines of at most 120 columns; further lines get an indent.
local function wrapped(text, indent)
  local line = ""
  for word in text:gmatch "%S+" do
    if #line + #word + 1 > 120 then
      put(line)
      line = indent .. word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  put(line)
end

put "# Tensors"
put ""
put "<!-- Written by scripts/tensor_manual.lua from the comments of lua/kvbench/tensor/*.lua: change those. -->"
put ""
wrapped([[Arrays for press rules and measures, with torch's names and meanings wherever torch has them. What differs:
dimensions and indices count from 1 (negative ones from the end), a reduction takes its dimension first and gives a
number without one, comparisons are methods that yield 1 and 0, arithmetic is f32 (sums are taken in double), and randomness
takes a seed. Nothing is copied unless the text says so. At the prompt: `help("tensor.softmax")`.]], "")
put ""
put "```lua"
put 'local tensor = require("kvbench").tensor'
put 'local keys = tensor.randn({ 2, 3, 10, 8 }, "keys")  -- [layers, heads, tokens, channels]'
put "local score = -keys:norm(-1)                         -- [layers, heads, tokens]: short keys are kept"
put "local best, where = score:topk(3)                    -- the last dimension unless told"
put "print(score, where)"
put "print(keys[{ 1, {}, { -2, -1 } }]:size())            -- layer 1, all heads, the last two tokens: a view"
put "```"
for _, part in ipairs(manual.tensor()) do
  put ""
  put("## " .. part.title)
  put ""
  wrapped(part.head, "")
  put ""
  local examples = {}
  for _, entry in ipairs(part.entries) do
    wrapped("- `" .. entry.signature .. "` " .. entry.text, "  ")
    for _, e in ipairs(entry.examples) do examples[#examples + 1] = e end
  end
  if #examples > 0 then
    put ""
    put "```lua"
    put 'local tensor = require("kvbench").tensor'
    for _, e in ipairs(examples) do put(("print(%s)"):format(e.code) .. (e.value and " --> " .. e.value or "")) end
    put "```"
  end
end
io.stdout:write(table.concat(out, "\n"), "\n")
