-- SPDX-License-Identifier: Apache-2.0
-- kvbench tests/golden_tokenizer.lua MODEL FILE.jsonl: one count per line of FILE: {"text", "ids", maybe "decoded"}.
-- MODEL is a registry name, a .gguf, or a folder with tokenizer.json. Ids must be equal; offsets must lie in order
-- inside the text; decoding the ids must give `decoded`. What is not built (SentencePiece) prints as skipped.
local C = require("kvbench.ffi").C
local json = require "kvbench.json"
local tokenizer = require "kvbench.tokenizer"

local model, path = arg[1], arg[2]
if not path then error("usage: kvbench tests/golden_tokenizer.lua MODEL FILE.jsonl", 0) end

local function open(name)
  if C.kvb_path_kind(name) == 0 then name = require("kvbench.registry").resolve(name) end
  return tokenizer.open(name)
end

local function show(v)
  return type(v) == "table" and "{" .. table.concat(v, ", ") .. "}" or (("%q"):format(tostring(v)):gsub("\\\n", "\\n"))
end

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do if a[i] ~= b[i] then return false end end
  return true
end

-- nil, or what is wrong with the offsets.
local function offsets_problem(offsets, n, bytes)
  if #offsets ~= n then return ("%d offsets for %d ids"):format(#offsets, n) end
  local from, to = 0, 0
  for i, span in ipairs(offsets) do
    if span[1] < from or span[2] < to or span[2] < span[1] or span[2] > bytes then
      return ("token %d covers [%d, %d) after [%d, %d) of %d bytes"):format(i, span[1], span[2], from, to, bytes)
    end
    from, to = span[1], span[2]
  end
end

local function check(tok, item)
  local ids, offsets = tok:encode(item.text)
  if not same(ids, item.ids) then return "ids", show(ids), show(item.ids) end
  local problem = offsets_problem(offsets, #ids, #item.text)
  if problem then return "offsets", problem, "ranges in order" end
  if item.decoded then
    local decoded = tok:decode(ids)
    if decoded ~= item.decoded then return "decoded", show(decoded), show(item.decoded) end
  end
end

local ok, tok = pcall(open, model)
local file = io.open(path, "rb") or error("cannot read '" .. path .. "'", 0)
local passed, failed, skipped = 0, 0, 0
if not ok and tostring(tok):find("not supported", 1, true) then
  for _ in file:lines() do skipped = skipped + 1 end
  io.write("skip ", path, " (", (tostring(tok):gsub("\n", " ")), ")\n")
elseif not ok then
  error(tok, 0)
else
  local number = 0
  for line in file:lines() do
    number = number + 1
    local item = json.decode(line, path .. ":" .. number)
    if type(item.text) ~= "string" or type(item.ids) ~= "table" then
      error(path .. ":" .. number .. ": no text or no ids", 0)
    end
    local what, got, expected = check(tok, item)
    if what then
      failed = failed + 1
      io.write(("FAIL %s:%d %s\n     text     %s\n     got      %s\n     expected %s\n"):format(path, number, what,
        show(item.text), got, expected))
    else
      passed = passed + 1
    end
  end
end
file:close()
io.write(("%d passed, %d failed%s\n"):format(passed, failed, skipped > 0 and (", %d skipped"):format(skipped) or ""))
os.exit(failed == 0 and passed + skipped > 0 and 0 or 1)
