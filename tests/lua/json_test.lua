-- SPDX-License-Identifier: Apache-2.0
local json = require "kvbench.json"
local t = require "kvbench.testing"

t.case("scalars", function()
  t.eq(json.decode("17"), 17)
  t.eq(json.decode("-2.5e3"), -2500)
  t.eq(json.decode("true"), true)
  t.eq(json.decode("false"), false)
  t.eq(json.decode('"a"'), "a")
  t.ok(json.decode("null") == json.null)
end)

t.case("null keeps its key and its place", function()
  local v = json.decode '{"a":null,"b":[null,1,null]}'
  t.ok(v.a == json.null)
  t.eq(#v.b, 3)
  t.ok(v.b[1] == json.null and v.b[2] == 1 and v.b[3] == json.null)
end)

t.case("strings: escapes, NUL, surrogate pairs, raw UTF-8", function()
  t.eq(json.decode [["\n\t\"\\\/"]], '\n\t"\\/')
  t.eq(json.decode [["a\u0000b"]], "a\0b")
  t.eq(json.decode [["\ud83d\ude00"]], "\240\159\152\128")
  t.eq(json.decode '"\195\169"', "\195\169")
end)

t.case("integers beyond 64 bits are read (tokenizer_config.json has one)", function()
  t.near(json.decode "1000000000000000019884624838656", 1e30, 1e15)
end)

t.case("arrays and empty objects are told apart", function()
  local v = json.decode '{"list":[],"map":{},"one":[1]}'
  t.ok(json.is_array(v.list) and json.is_array(v.one) and not json.is_array(v.map))
  t.eq(json.encode(v), '{"list":[],"map":{},"one":[1]}')
end)

t.case("what was read is written back the same", function()
  local text = '{"a":[1,2.5,-3,1e+300,null,true,"x\\ny\\u0000\\"\\\\"],"b":{"c":{}},"d":0.1}'
  t.eq(json.encode(json.decode(text)), text)
end)

t.case("doubles survive", function()
  for _, x in ipairs { 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 2 ^ 53, -2 ^ 63, 123456789.123 } do
    t.eq(json.decode(json.encode(x)), x)
  end
end)

t.case("bad text is one line with the place", function()
  for text, pattern in pairs {
    [""] = "conf.json: not valid JSON", ["{"] = "line 1", ['{"a":1,}'] = "not valid", ["[1] x"] = "not valid",
    ['{"a":1,"a":2}'] = "duplicate", ['"\255"'] = "unable to decode byte 0xff", ["[1e999]"] = "overflow",
      ["nul"] = "not valid",
    ['\n\n"a\nb"'] = "line 3",
  } do
    local message = t.fails(function() json.decode(text, "conf.json") end, pattern)
    t.ok(not message:find("\n"), "several lines: " .. message)
  end
end)

t.case("nesting deeper than the parser allows is an error, not a crash", function()
  t.fails(function() json.decode(("["):rep(100000)) end, "depth")
  t.eq(#json.decode(("["):rep(500) .. ("]"):rep(500)), 1)
end)

t.case("a byte-order mark is skipped", function() t.eq(json.decode "\239\187\191[1]", { 1 }) end)

t.case("files", function()
  local path = os.tmpname()
  json.save(path, { b = 1, a = { 2, json.null } })
  local file = io.open(path)
  t.eq(file:read("*a"), '{"a":[2,null],"b":1}\n')
  file:close()
  t.eq(json.load(path).b, 1)
  os.remove(path)
  t.fails(function() json.load(path) end, "cannot read '.*': No such file")
  t.fails(function() json.load("/tmp") end, "folder")
end)

t.case("a loop of decodes gives its memory back", function()
  local C = require("kvbench.ffi").C
  local before = C.kvb_memory_bytes(C.KVB_MEM_ALL)
  for _ = 1, 100 do json.decode '{"a":[1,2,3,{"b":"c"}]}' end
  t.eq(tonumber(C.kvb_memory_bytes(C.KVB_MEM_ALL)), tonumber(before))
end)
