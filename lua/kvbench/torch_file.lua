-- SPDX-License-Identifier: Apache-2.0
-- What torch.save wrote (.pt, zip format), read without running it. A .pt is a program for Python's pickle machine;
-- here the few instructions that build dicts, lists, numbers, texts and tensors do so, and whatever else the program
-- calls (numpy arrays, classes) becomes an empty table. Tensors are read from their storage when asked for.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
require "kvbench.tensor"

local M = {}

local TYPES = { FloatStorage = { "f32", 4 }, BFloat16Storage = { "bf16", 2 }, HalfStorage = { "f16", 2 },
  DoubleStorage = { "f64", 8 } }

local function u16(s, at) return s:byte(at + 1) + 256 * s:byte(at + 2) end
local function u32(s, at) return u16(s, at) + 65536 * u16(s, at + 2) end
local function i32(s, at)
  local v = u32(s, at)
  return v >= 2 ^ 31 and v - 2 ^ 32 or v
end

-- ---- the zip around it ----

-- name -> {offset of its bytes, size}; torch stores entries uncompressed.
local function entries_of(file, fail)
  local size = file:seek "end"
  local back = math.min(size, 65557)
  file:seek("set", size - back)
  local tail = file:read(back) or ""
  local at = tail:reverse():find("\6\5KP", 1, true)
  if not at or at < 19 then fail "this is no zip file, as torch.save writes them since version 1.6" end
  local record = tail:sub(-at - 3)
  local count, length, start = u16(record, 10), u32(record, 12), u32(record, 16)
  file:seek("set", start)
  local directory, entries, p = file:read(length) or "", {}, 0
  for _ = 1, count do
    if directory:sub(p + 1, p + 4) ~= "PK\1\2" or #directory < p + 46 then fail "its zip directory is damaged" end
    local method, bytes, name_length = u16(directory, p + 10), u32(directory, p + 24), u16(directory, p + 28)
    local name, offset = directory:sub(p + 47, p + 46 + name_length), u32(directory, p + 42)
    if method ~= 0 then fail(("'%s' in it is compressed"):format(name)) end
    file:seek("set", offset)
    local header = file:read(30) or ""
    if header:sub(1, 4) ~= "PK\3\4" or #header < 30 then fail "its zip directory is damaged" end
    entries[name] = { offset + 30 + u16(header, 26) + u16(header, 28), bytes }
    p = p + 46 + name_length + u16(directory, p + 30) + u16(directory, p + 32)
  end
  return entries
end

-- ---- the pickle program ----

local MARK = {}

-- What calling a global gives.
local function called(name, arguments)
  if name == "torch._utils _rebuild_tensor_v2" then
    return { storage = arguments[1], offset = arguments[2], shape = arguments[3], stride = arguments[4], tensor = true }
  elseif name == "torch._utils _rebuild_parameter" then
    return arguments[1]
  end
  return {} -- an OrderedDict to be filled, or what is of no interest
end

local function run(program, fail)
  local stack, memo, at = {}, {}, 0
  local function take(n)
    local part = program:sub(at + 1, at + n)
    if #part < n then fail "its program ends early" end
    at = at + n
    return part
  end
  local function line()
    local text, after = program:match("^([^\n]*)\n()", at + 1)
    if not text then fail "its program ends early" end
    at = after - 1
    return text
  end
  local function push(value) stack[#stack + 1] = value ~= nil and value or false end
  local function pop() return table.remove(stack) end
  local function since_mark()
    local items = {}
    for i = #stack, 1, -1 do
      if stack[i] == MARK then
        for j = i + 1, #stack do items[j - i] = stack[j] end
        for j = #stack, i, -1 do stack[j] = nil end
        return items
      end
    end
    fail "its program is damaged"
  end
  local function fill(items)
    local into = stack[#stack]
    for i = 1, #items, 2 do
      if type(items[i]) ~= "table" then into[items[i]] = items[i + 1] end
    end
  end
  local function extend(items)
    local into = stack[#stack]
    for _, x in ipairs(items) do into[#into + 1] = x end
  end
  local function tuple(n)
    local items = {}
    for i = n, 1, -1 do items[i] = pop() end
    push(items)
  end
  local int = { [0x4b] = function() return take(1):byte() end, [0x4d] = function() return u16(take(2), 0) end,
    [0x4a] = function() return i32(take(4), 0) end }
  local steps = {
    [0x80] = function() take(1) end, [0x28] = function() push(MARK) end,
    [0x7d] = function() push {} end, [0x5d] = function() push {} end, [0x29] = function() push {} end,
    [0x71] = function() memo[take(1):byte()] = stack[#stack] end,
    [0x72] = function() memo[u32(take(4), 0)] = stack[#stack] end,
    [0x68] = function() push(memo[take(1):byte()]) end, [0x6a] = function() push(memo[u32(take(4), 0)]) end,
    [0x58] = function() push(take(u32(take(4), 0))) end, [0x8c] = function() push(take(take(1):byte())) end,
    [0x42] = function() push(take(u32(take(4), 0))) end, [0x43] = function() push(take(take(1):byte())) end,
    [0x4e] = function() push(false) end, [0x88] = function() push(true) end, [0x89] = function() push(false) end,
    [0x8a] = function() push(#take(take(1):byte())) end, -- a long number: nothing here needs one
    [0x47] = function() take(8) push(0) end, -- a double: losses, of no interest
    [0x63] = function() push { global = line() .. " " .. line() } end,
    [0x74] = function() push(since_mark()) end,
    [0x85] = function() tuple(1) end, [0x86] = function() tuple(2) end, [0x87] = function() tuple(3) end,
    [0x73] = function() local v, k = pop(), pop() fill { k, v } end, [0x75] = function() fill(since_mark()) end,
    [0x61] = function() extend { pop() } end, [0x65] = function() extend(since_mark()) end,
    [0x51] = function() local id = pop() push { kind = id[2] and id[2].global or "", key = id[3] } end,
    [0x52] = function() local arguments, f = pop(), pop() push(called(f.global or "", arguments)) end,
    [0x81] = function() pop() pop() push {} end,
    [0x62] = function() pop() end, -- state of an object
  }
  while true do
    local code = take(1):byte()
    if code == 0x2e then return pop() end
    if int[code] then push(int[code]())
    elseif steps[code] then steps[code]()
    else fail(("its program has the instruction 0x%02x, which builds nothing that is read here"):format(code)) end
  end
end

-- ---- tensors ----

local File = {}
File.__index = File

--- An f32 tensor of what `data` holds of one.
function File:tensor(x)
  local kind = TYPES[x.storage.kind:match "(%w+)$"]
  local entry = self.entries[("%s/data/%s"):format(self.folder, tostring(x.storage.key))]
  if not kind or kind[1] == "f64" or not entry then
    self.fail(("a tensor in it is %s, expected 32- or 16-bit floats"):format(kind and kind[1] or x.storage.kind))
  end
  local count, step = 1, 1
  for i = #x.shape, 1, -1 do
    if x.shape[i] ~= 1 and x.stride[i] ~= step then self.fail "a tensor in it is not contiguous" end
    step, count = step * x.shape[i], count * x.shape[i]
  end
  if (x.offset + count) * kind[2] > entry[2] then self.fail "a tensor in it is larger than its storage" end
  self.file:seek("set", entry[1] + x.offset * kind[2])
  local bytes = self.file:read(count * kind[2]) or ""
  if #bytes < count * kind[2] then self.fail "the file is cut short" end
  local out = core.new(x.shape, kind[1], "cpu", true)
  ffi.copy(out.data, bytes, #bytes)
  return out:to "f32"
end

function File:close() self.file:close() end

--- Opens a .pt: .data is what was saved, dicts and lists as tables, in which a tensor is {tensor = true, shape = {...}}
--- for file:tensor(). who: stands in front of errors.
function M.open(path, who)
  local file, why = io.open(path, "rb")
  local function fail(text)
    if file then file:close() end
    error(("%s'%s': %s"):format(who or "", path, text), 0)
  end
  if not file then fail(why:match ": (.*)" or why) end
  local entries = entries_of(file, fail)
  local folder
  for name in pairs(entries) do folder = folder or name:match "^(.*)/data%.pkl$" end
  if not folder then fail "there is no data.pkl in it -> a file of torch.save" end
  file:seek("set", entries[folder .. "/data.pkl"][1])
  local ok, data = pcall(run, file:read(entries[folder .. "/data.pkl"][2]) or "", fail)
  if not ok then
    if type(data) == "string" and data:find(path, 1, true) then error(data, 0) end
    fail "its program is damaged"
  end
  return setmetatable({ file = file, entries = entries, folder = folder, data = data, fail = fail }, File)
end

return M
