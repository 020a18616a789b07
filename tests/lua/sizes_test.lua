-- SPDX-License-Identifier: Apache-2.0
-- No size wraps around: the sources of the library hold no allocation whose size is made with a bare * or +, and
-- shapes at
-- the limits of integers are refused.
local ffi = require "ffi"
local C = require("kvbench.ffi").C
local kv = require "kvbench"
local paths = require "kvbench.paths"
local t = require "kvbench.testing"

local function files(folder)
  local list, out = ffi.new "const char *[1]", {}
  t.eq(C.kvb_dir_list(paths.at(folder), list), 0)
  for name in ffi.string(list[0]):gmatch "[^\n]+" do
    if name:find "%.c$" then out[#out + 1] = paths.at(folder) .. "/" .. name end
  end
  return out
end

-- The arguments of a call, from behind its opening bracket.
local function arguments(text, at)
  local depth, from, list = 1, at, {}
  for i = at, #text do
    local c = text:sub(i, i)
    if c == "(" then depth = depth + 1 end
    if c == ")" then depth = depth - 1 end
    if depth == 0 or (c == "," and depth == 1) then
      list[#list + 1] = text:sub(from, i - 1)
      from = i + 1
      if depth == 0 then return list end
    end
  end
end

-- Which arguments of which function are sizes.
local sizes = { kvb_alloc = { 1 }, kvb_alloc_raw = { 1 }, kvb_realloc = { 2 }, kvb_alloc_array = { 1, 2 },
  kvb_backend_alloc = { 2 }, malloc = { 1 }, calloc = { 1, 2 }, realloc = { 2 } }

-- A * that multiplies or a + that adds: not sizeof *x, not a cast to a pointer, not the growth of an index.
local function bare(size)
  size = size:gsub("sizeof%s*%*+[%w_>.%-]+", "SIZE"):gsub("sizeof%s*%b()", "SIZE"):gsub("%?.*:", "?")
  return size:find "[%w%)]%s*[*+]%s*[%w%(]" ~= nil
end

t.case("what the search finds", function()
  for _, size in ipairs { "n * 4", "(size_t)n * sizeof *x", "n + 1", "a * b, c", "(size_t)(n * unit)" } do
    t.ok(bare(size), size)
  end
  for _, size in ipairs { "sizeof *x", "kvb_mul_size(n, sizeof *x)", "bytes", "f(rows, w->in)", "sizeof(int)" } do
    t.ok(not bare(size), size)
  end
end)

t.case("every allocation's size is checked", function()
  local calls, found = 0, {}
  for _, folder in ipairs { "core", "core/ref", "core/cpu" } do
    for _, path in ipairs(files(folder)) do
      local file = assert(io.open(path))
      local text = file:read("*a"):gsub("/%*.-%*/", "")
      file:close()
      for name, at in text:gmatch "([%w_]+)%(()" do
        for _, index in ipairs(sizes[name] or {}) do
          local given = arguments(text, at)
          calls = calls + 1
          if given and given[index] and bare(given[index]) and not given[index]:find "size_t [%w_]+$" then
            found[#found + 1] = ("%s: %s(%s)"):format(path, name, table.concat(given, ","))
          end
        end
      end
    end
  end
  t.ok(calls > 100, calls .. " calls were found")
  t.eq(table.concat(found, "\n"), "", "sizes that may wrap around -> kvb_mul_size, kvb_add_size (core/internal.h)")
end)

t.case("tensors at the limits", function()
  local huge = 2 ^ 62
  local out = ffi.new "kvb_tensor"
  local function status(...)
    return tonumber(C.kvb_tensor_new(C.KVB_F32, select("#", ...), ffi.new("int64_t[5]", ...), out))
  end
  for _, shape in ipairs { { 0, huge, huge }, { huge, huge }, { 2 ^ 31, 2 ^ 31, 4 }, { 2 ^ 46 }, { 3, 2 ^ 45 } } do
    t.eq(status(unpack(shape)), C.KVB_E_MEMORY, table.concat(shape, " x "))
  end
  t.eq(status(-1), C.KVB_E_SHAPE)
  t.eq(status(0, 2 ^ 40, 2 ^ 40), C.KVB_OK) -- empty, and its strides fit
  C.kvb_tensor_release(out)
end)

t.case("models at the limits", function()
  local function model(changes)
    local d = { layers = 2, hidden = 64, heads = 4, kv_heads = 2, head_dim = 16, ffn = 96, vocab = 320,
      max_positions = 512, norm_eps = 1e-5 }
    for k, v in pairs(changes) do d[k] = v end
    return function() kv.model.random(d, { dtype = "f32", device = "cpu" }):close() end
  end
  t.fails(model { layers = 4096, heads = 4096, kv_heads = 4096, head_dim = 1024, max_positions = 2 ^ 26 },
    "2%^60 bytes")
  t.fails(model { layers = 4096, hidden = 2 ^ 20, max_positions = 2 ^ 26 }, "2%^60 bytes")
  t.fails(model { layers = 2 ^ 31 - 1 }, "layers is 2147483647")
  t.fails(model { vocab = 2 ^ 24, hidden = 2 ^ 20 }, "out of memory")
  model {}()
end)

t.case("positions and layers at the limits", function()
  local m = kv.model.random({ layers = 2, hidden = 64, heads = 4, kv_heads = 2, head_dim = 16, ffn = 96, vocab = 320,
    max_positions = 512, norm_eps = 1e-5 }, { dtype = "f32", device = "cpu" })
  local ctx = m:prefill { 1, 2, 3 }
  t.fails(function() ctx:rope(2 ^ 31 - 2, 5) end, "RoPE tables from position 2147483646")
  local out = kv.tensor.zeros(1, 1, 1, 1)
  for _, range in ipairs { { 2 ^ 31 - 1, 2 ^ 31 - 1 }, { 1, 2 ^ 31 - 1 }, { -1, 1 }, { 3, 0 } } do
    t.eq(tonumber(C.kvb_ctx_read(ctx:pointer(), C.KVB_KEYS, range[1], range[2], out)), C.KVB_E_ARG)
  end
  local request = { ctx = ctx, ids = { 5 }, position = 2 ^ 31 - 1, max_new_tokens = 2 ^ 31 - 1 }
  t.fails(function() m:batch():add(request) end, "exceed the model's 512 positions")
  ctx:close()
  m:close()
end)
