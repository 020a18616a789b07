-- SPDX-License-Identifier: Apache-2.0
-- Documentation that runs: every ```lua and ```sh block of README.md and docs/*.md is executed as it stands, in a fresh
-- folder that looks like the checkout. A block whose fence says `norun` (```lua norun) is shown only.
local C = require("kvbench.ffi").C
local ffi = require "ffi"
local paths = require "kvbench.paths"
local process = dofile(paths.at "tests/e2e/process.lua")
local registry = require "kvbench.registry"
local t = require "kvbench.testing"

local function names_in(folder)
  local list, names = ffi.new "const char *[1]", {}
  if C.kvb_dir_list(folder, list) ~= 0 then return names end
  for name in ffi.string(list[0]):gmatch "[^\n]+" do names[#names + 1] = name end
  return names
end

local function blocks_of(path)
  local blocks, open, number = {}, nil, 0
  for line in io.lines(path) do
    number = number + 1
    local fence = line:match "^%s*```(.*)$"
    if fence and open then
      blocks[#blocks + 1], open = open, nil
    elseif fence then
      local language, rest = fence:match "^(%w*)%s*(.*)$"
      local run = (language == "lua" or language == "sh") and rest ~= "norun"
      open = { language = language, run = run, line = number, lines = {} }
    elseif open then
      open.lines[#open.lines + 1] = line
    end
  end
  return blocks, open
end

local have_model = C.kvb_path_kind(paths.cache() .. "/" .. registry.models.smollm2.file) == 1

-- The checkout as the reader sees it, without letting an example write into it.
local function prepare()
  process.shell("ln -sfn '" .. paths.home .. "'/* . 2>/dev/null; rm -f build out; mkdir -p build")
  process.shell "ln -sfn $K build/kvbench"
end

local function run(document, block)
  local name = document .. ":" .. block.line
  local source = table.concat(block.lines, "\n") .. "\n"
  if source:find "smollm2" and not have_model then
    return t.skip(name, "the default model is not in the cache (make setup)")
  end
  t.case(name, function()
    prepare()
    local r
    if block.language == "lua" then
      process.write("block.lua", ("\n"):rep(block.line) .. source) -- so that errors name the document's own lines
      r = process.shell "timeout 300 $K block.lua </dev/null"
    else
      process.write("block.sh", source)
      r = process.shell 'PATH=$PWD/build:$PATH timeout 300 sh -e block.sh </dev/null'
    end
    t.eq(r.status, 0, name .. "\n" .. r.out .. r.err)
  end)
end

local documents = { "README.md" }
for _, name in ipairs(names_in(paths.at "docs")) do
  if name:find "%.md$" then documents[#documents + 1] = "docs/" .. name end
end

for _, document in ipairs(documents) do
  local path = paths.at(document)
  if C.kvb_path_kind(path) == 1 then
    local blocks, unclosed = blocks_of(path)
    t.case(document .. " closes its code blocks", function() t.eq(unclosed, nil) end)
    for _, block in ipairs(blocks) do if block.run then run(document, block) end end
  end
end

t.case("links of the documents lead to files that exist", function()
  local broken = {}
  for _, document in ipairs(documents) do
    local folder = document:match "^(.*/)" or ""
    local file = io.open(paths.at(document))
    local content = file and file:read "*a" or ""
    if file then file:close() end
    for target in content:gmatch "%]%(([^)#%s]+)[^)]*%)" do
      if not target:find "^%a+:" and C.kvb_path_kind(paths.at(folder .. target)) == 0 then
        broken[#broken + 1] = document .. " -> " .. target
      end
    end
  end
  t.eq(broken, {})
end)

process.done()
