-- SPDX-License-Identifier: Apache-2.0
-- The manual in the comments: every example of the tensor API gives what it says, everything public is described, and
-- docs/tensor.md is what scripts/tensor_manual.lua writes.
local t = require "kvbench.testing"
local core = require "kvbench.tensor.core"
local help = require "kvbench.help"
local manual = require "kvbench.manual"
local paths = require "kvbench.paths"
local process = dofile(paths.at "tests/e2e/process.lua")
local tensor = require "kvbench.tensor"

local function same(a, b)
  if type(a) == "number" and a ~= b then return math.abs(a - b) <= 1e-6 * math.max(1, math.abs(b)) end
  if type(a) ~= "table" then return a == b end
  if type(b) ~= "table" or #a ~= #b then return false end
  for i = 1, #a do if not same(a[i], b[i]) then return false end end
  return true
end

local described = {}
for _, part in ipairs(manual.tensor()) do
  t.case("examples: " .. part.title, function()
    t.ok(#part.head > 0 and #part.entries > 0)
    for _, entry in ipairs(part.entries) do
      described[(entry.method and "t:" or "tensor.") .. entry.name] = true
      for _, e in ipairs(entry.examples) do
        t.ok(e.value, entry.signature .. ": the example has no '--> value': " .. e.code)
        local env = setmetatable({ tensor = tensor }, { __index = _G })
        local got = setfenv(assert(loadstring("return " .. e.code)), env)()
        local wanted = setfenv(assert(loadstring("return " .. e.value)), env)()
        if tensor.is(got) then got = got:tolua() end
        t.ok(same(got, wanted), ("%s: %s gives %s, not %s"):format(entry.signature, e.code,
          require("kvbench.show").value(got), e.value))
      end
    end
  end)
end

t.case("everything public is described", function()
  local missing = {}
  for name in pairs(core.methods) do
    if not described["t:" .. name] then missing[#missing + 1] = "t:" .. name end
  end
  for name, value in pairs(tensor) do
    if type(value) == "function" and not described["tensor." .. name] then missing[#missing + 1] = "tensor." .. name end
  end
  table.sort(missing)
  t.eq(missing, {})
end)

t.case("docs/tensor.md is up to date", function()
  local r = process.shell("$K " .. paths.at "scripts/tensor_manual.lua" .. " > tensor.md && cmp tensor.md "
    .. paths.at "docs/tensor.md")
  t.eq(r.status, 0, "-> kvbench scripts/tensor_manual.lua > docs/tensor.md")
end)

t.case("help finds the same texts", function()
  local softmax = manual.of_tensor "softmax"
  t.ok(softmax:find "^t:softmax%(dim%)\n" and softmax:find("--> { 0.25, 0.75 }", 1, true), softmax)
  for _, x in ipairs { "tensor.softmax", "kv.tensor.softmax", "t:softmax", tensor.zeros(1).softmax } do
    t.eq(help.of(x), softmax)
  end
  t.ok(help.of(tensor.where):find "where condition is not 0")
  for _, x in ipairs { "tensor", tensor, tensor.zeros(2) } do
    local text = help.of(x)
    t.ok(text:find "t:cholesky%(%)" and text:find "tensor%.randperm%(n, seed%)" and text:find "Reductions",
      text:sub(1, 300))
  end
  t.eq(help.of "tensor.sofmax", nil)
end)

process.done()
