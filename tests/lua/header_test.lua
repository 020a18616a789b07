-- SPDX-License-Identifier: Apache-2.0
-- The one-header rule: what kvbench.h and ops.def declare exists in the binary, the text is plain enough for ffi.cdef,
-- and no C function is a mystery to help().
local ffi = require "ffi"
local help = require "kvbench.help"
local library = require "kvbench.ffi"
local t = require "kvbench.testing"

local header = library.texts.header
local block = header:match("/%*%[cdef%]%*/(.-)/%*%[/cdef%]%*/")
local code = block:gsub("/%*.-%*/", " ")

t.case("every declared function resolves", function()
  local names, missing = help.c_names(), {}
  t.ok(#names > 50, "only " .. #names .. " functions found: the pattern is broken")
  for _, name in ipairs(names) do
    if not pcall(function() return library.C[name] end) then missing[#missing + 1] = name end
  end
  t.eq(missing, {})
end)

t.case("a name that is not declared does not resolve", function()
  t.fails(function() return library.C.kvb_no_such_function end, "missing declaration")
end)

t.case("no preprocessor lines, no function pointers, no long, no bit-fields between the markers", function()
  t.eq(code:match("\n%s*#[^\n]*"), nil)
  t.eq(code:match("%(%s*%*[^\n]*"), nil)
  t.eq(code:match("%f[%w_]long%f[^%w_][^\n]*"), nil)
  t.eq(code:match("[%w_]+%s*:%s*%d+%s*;"), nil)
end)

t.case("no struct is passed or returned by value", function()
  for struct in code:gmatch("typedef%s+struct%s+([%w_]+)%s*{") do
    for parameters in code:gmatch("kvb_[%w_]+(%b())") do
      for parameter in parameters:gmatch("[^(),]+") do
        t.ok(not parameter:find("%f[%w_]" .. struct .. "%s+[%w_]+%s*$"), struct .. " by value in " .. parameter)
      end
    end
    t.ok(not code:find("\n" .. struct .. "%s+kvb_"), struct .. " is returned by value")
  end
end)

t.case("structs have the same size on both sides", function()
  local checked = 0
  for struct in code:gmatch("typedef%s+struct%s+([%w_]+)%s*{") do
    t.eq(tonumber(library.C.kvb_sizeof(struct)), ffi.sizeof(struct), struct)
    checked = checked + 1
  end
  t.ok(checked >= 4, "structs found: " .. checked)
  t.eq(tonumber(library.C.kvb_sizeof("kvb_nothing")), -1)
end)

t.case("only the two halves of one file: everything declared outside the markers is the C++ guard", function()
  local outside = header:gsub("/%*%[cdef%]%*/.-/%*%[/cdef%]%*/", ""):gsub("/%*.-%*/", "")
  t.eq(outside:match("kvb_[%w_]+"), nil)
end)

t.case("help() finds a declaration for every function", function()
  for _, name in ipairs(help.c_names()) do
    local found = help.of_c(name)
    t.ok(found and found:find(name:gsub("^kvb_op_", ""), 1, true), name)
  end
end)

t.case("every op has a documenting comment", function()
  local undocumented = {}
  for _, op in ipairs(library.ops) do
    if not help.of_c("kvb_op_" .. op):find("/%*") then undocumented[#undocumented + 1] = op end
  end
  t.eq(undocumented, {})
end)

t.case("help() on a C name gives its comment and declaration only", function()
  local found = help.of_c("kvb_file_write")
  t.ok(found:find("temporary name"), found)
  t.ok(found:find("kvb_status kvb_file_write%("), found)
  t.ok(not found:find("kvb_dir_make"), found)
end)
