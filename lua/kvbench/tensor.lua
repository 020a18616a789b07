-- SPDX-License-Identifier: Apache-2.0
-- kv.tensor: torch-like arrays over the library's memory. torch's names; dimensions and indices count from 1, negative
-- ones from the end; reductions take the dimension first and drop it (without one they return a number); comparisons
-- are methods (t:lt(x)) that yield 1 and 0. f32 unless said. Every function with an example: docs/tensor.md;
-- help("tensor.softmax") at the prompt.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
for _, part in ipairs { "check", "make", "random", "views", "shape", "math", "reduce", "order", "index", "join", "product",
  "moments", "fuse", "rope", "linalg", "show" } do require("kvbench.tensor." .. part) end
local text = require "kvbench.text"

local M = {
  is = core.is, new = core.new, from = core.from, where = function(...) return (core.where(...)) end, cat = core.cat,
  stack = core.stack, scope = core.scope, persist = core.persist, outside = core.outside, use = core.use, on = core.on,
  current = core.current, locate_nan = core.locate_nan, show = core.show, bytes = core.bytes,
  zeros = core.zeros, ones = core.ones, full = core.full, arange = core.arange, linspace = core.linspace,
  eye = core.eye, fuse = core.fuse, fuse_source = core.fuse_source, causal_mask = core.causal_mask,
  seed = core.seed, rand = core.rand, randn = core.randn, randint = core.randint, randperm = core.randperm,
  bernoulli = core.bernoulli,
}

local names
local function unknown(name)
  if not names then
    names = {}
    for method in pairs(core.methods) do names[#names + 1] = method end
  end
  error(("tensor: no method or field '%s' %s"):format(tostring(name), text.suggest(tostring(name), names)), 0)
end

local function part_of(t, key)
  if type(key) == "number" then return t:select(1, key) end
  if type(key) == "table" then return t:index(unpack(key)) end
end

local meta = {
  __index = function(t, key)
    local part = part_of(t, key) or core.methods[key]
    if part ~= nil then return part end
    return key == "device" and core.device_name(t.device_id) or unknown(key)
  end,
  __newindex = function(t, key, value)
    local part = part_of(t, key) or unknown(key)
    if type(value) == "number" then part:fill_(value) else part:copy_(value) end
  end,
  __len = function(t) return t:size(1) end,
  __tostring = core.text,
}
for name, operator in pairs(core.operators) do meta[name] = operator end
ffi.metatype("kvb_tensor", meta)

return M
