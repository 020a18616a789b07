-- SPDX-License-Identifier: Apache-2.0
-- Every function and method of the tensor API, called with arguments that make no sense: each either works or says in
-- one
-- line of its own what is wrong. A position in the message, or a crash, is a mistake of ours.
local t = require "kvbench.testing"
local core = require "kvbench.tensor.core"
local tensor = require "kvbench.tensor"

local nonsense = { {}, { "x" }, { {} }, { 0 }, { 99 }, { -99 }, { 1.5 }, { 0 / 0 }, { true }, { 1, "x" }, { 1, {} },
  { 1, 0 }, { 1, -1 }, { 1, 1e12 }, { 1, true }, { { 1, 1 } }, { { "x" } }, { 2, 2, "x" }, { 2, 2, {} },
  { tensor.zeros(3) }, { tensor.zeros(2, 2, 2) }, { 1, tensor.zeros(2, 2) }, { print } }
local subjects = { tensor.zeros(2, 3), tensor.zeros({}), tensor.zeros(0, 3), tensor.zeros({ 2, 3 }, "i32"),
  tensor.zeros(1, 1, 1, 1, 1) }

local function words(args)
  local out = {}
  for i = 1, #args do out[i] = tensor.is(args[i]) and core.show(args[i]) or tostring(args[i]) end
  return table.concat(out, ", ")
end

local function probe(name, fn, ...)
  local ok, problem = pcall(fn, ...)
  problem = ok and "" or tostring(problem)
  for _, sign in ipairs { "^[^\n]*%.lua:%d+:", "bad argument", "attempt to", "cannot convert" } do
    t.ok(ok or not problem:find(sign), name .. ": " .. problem)
  end
end

t.case("a new leading dimension needs a size", function()
  t.fails(function() tensor.zeros(3):expand(-1, 3) end, "expand: cannot be repeated to %[%-1, 3%]")
end)

local function sorted(names)
  table.sort(names)
  return names
end

local methods, functions = {}, {}
for name in pairs(core.methods) do methods[#methods + 1] = name end
local takes_code = { on = true, scope = true, outside = true, use = true }
for name, value in pairs(tensor) do
  if type(value) == "function" and not takes_code[name] then functions[#functions + 1] = name end
end

for _, name in ipairs(sorted(methods)) do
  t.case("t:" .. name, function()
    for _, args in ipairs(nonsense) do
      for _, subject in ipairs(subjects) do
        probe(("t:%s(%s) of %s"):format(name, words(args), core.show(subject)), core.methods[name], subject:clone(),
          unpack(args))
      end
    end
  end)
end
for _, name in ipairs(sorted(functions)) do
  t.case("tensor." .. name, function()
    for _, args in ipairs(nonsense) do
      probe(("tensor.%s(%s)"):format(name, words(args)), tensor[name], unpack(args))
    end
  end)
end
