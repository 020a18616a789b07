-- SPDX-License-Identifier: Apache-2.0
-- Where task files lie and how files are read and written; the one place that knows about folders.
local paths = require "kvbench.paths"

local M = {}

--- Folders that are scanned for tasks, the project's first.
function M.roots() return { paths.datasets, "datasets" } end

local function exists(path)
  local f = io.open(path, "r")
  if f then f:close() end
  return f ~= nil
end

--- Is there a file that can be read? (Folders open, but give nothing.)
function M.is_file(path)
  local f = io.open(path, "r")
  local readable = f and f:read(0) ~= nil
  if f then f:close() end
  return readable == true
end

--- Path of a task's file, or nil. A name that ends in .lua is taken as a path.
function M.find(name)
  if type(name) ~= "string" then return nil end
  if name:match("%.lua$") then return exists(name) and name or nil end
  if not name:match("^[%w_-]+$") then return nil end
  for _, root in ipairs(M.roots()) do
    local path = root .. "/" .. name .. ".lua"
    if exists(path) then return path end
  end
end

--- As find, for a name that stands in data: never a path, since what is found is run.
function M.named(name) return type(name) == "string" and name:match("^[%w_-]+$") and M.find(name) or nil end

-- Names in a folder, by the C library inside kvbench and by `ls` in a plain Lua.
local function entries(root)
  local ok, library = pcall(require, "kvbench.ffi")
  local names = {}
  if ok then
    local ffi = require "ffi"
    local out = ffi.new "const char *[1]"
    if library.C.kvb_path_kind(root) ~= 2 then return names end
    library.check(library.C.kvb_dir_list(root, out))
    for name in ffi.string(out[0]):gmatch("[^\n]+") do names[#names + 1] = name end
    return names
  end
  local pipe = io.popen("ls -1 '" .. root:gsub("'", "'\\''") .. "' 2>/dev/null")
  for name in pipe:lines() do names[#names + 1] = name end
  pipe:close()
  return names
end

--- Names of all task files, sorted.
function M.tasks()
  local seen, names = {}, {}
  for _, root in ipairs(M.roots()) do
    for _, entry in ipairs(entries(root)) do
      local name = entry:match("^([%w_-]+)%.lua$")
      if name and not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

--- Whole contents of a file.
function M.read(path)
  local f, fault = io.open(path, "rb")
  if not f then error("cannot read " .. fault, 0) end
  local s = f:read("*a")
  f:close()
  return s
end

--- Writes pieces to path.tmp, then renames: the file is there whole or not at all.
function M.write(path, pieces)
  local temporary = path .. ".tmp"
  local f, fault = io.open(temporary, "wb")
  if not f then error("cannot write " .. fault, 0) end
  local ok = true
  for _, piece in ipairs(pieces) do
    ok, fault = f:write(piece)
    if not ok then break end
  end
  local closed, close_fault = f:close()
  if not ok or not closed then
    os.remove(temporary)
    error(("cannot write '%s': %s -> free some space or choose another folder"):format(path, fault or close_fault), 0)
  end
  local renamed, rename_fault = os.rename(temporary, path)
  if not renamed then
    os.remove(temporary)
    error("cannot write " .. rename_fault, 0)
  end
end

return M
