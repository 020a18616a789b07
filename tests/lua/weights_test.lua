-- SPDX-License-Identifier: Apache-2.0
-- The Lua view of weight files: names, shapes, values, metadata, use after close.
local t = require "kvbench.testing"
local weights = require "kvbench.weights"
local here = debug.getinfo(1, "S").source:gsub("^@", ""):match("^(.*)/[^/]*$") or "."

t.case("metadata: scalars, arrays, strings with NUL, absent keys", function()
  local w = weights.open(here .. "/../golden/gguf/meta.gguf")
  t.eq({ w.kind, w.count, w:names()[1] }, { "gguf", 1, "one" })
  t.eq({ w:meta "u32", w:meta "i16", w:meta "yes", w:meta "no" }, { 4000000000, -30000, 1, 0 })
  t.eq(w:meta "text", "caf\195\169\0tail")
  t.eq(w:meta_count "strings", 39)
  t.eq({ w:meta("strings", 0), w:meta("strings", 11), w:meta("ints", 7) }, { "s1", "s12s12", 2 })
  t.eq({ w:meta_count "absent", w:meta "absent", w:meta("ints", 25) }, { 0 })
  local keys = w:meta_keys()
  t.eq({ keys[1], keys[#keys] }, { "general.architecture", "bools" })
end)

t.case("tensors: shape outermost first, values, what is not there", function()
  local w = weights.open(here .. "/../golden/gguf/quants.gguf")
  local info = w:info "Q6_K"
  t.eq({ info.type, info.shape, info.elements, info.bytes }, { "Q6_K", { 2, 256 }, 512, 420 })
  local got, expected = w:floats "Q6_K", w:floats "Q6_K.expected"
  for i = 0, 511 do t.eq(got[i], expected[i]) end
  t.eq(w:info "nothing", nil)
  t.fails(function() w:floats "nothing" end, "there is no tensor 'nothing'")
  t.fails(function() w:integers "Q6_K" end, "has type Q6_K, which does not hold integers")
  t.fails(function() w:info(99) end, "no tensor number 99, there are 20")
  t.eq(#w:hash(), 16)
end)

t.case("closing: twice is fine, use is an error", function()
  local w = weights.open(here .. "/../fuzz/corpus/safetensors/tiny.safetensors")
  t.eq(w:integers "c", { 0x27262524 * 2 ^ 32 + 0x23222120 })
  w:close()
  w:close()
  t.fails(function() w:info "a" end, "was closed %-> open it again")
  t.fails(function() weights.open "/nowhere.gguf" end, "cannot open the model file '/nowhere.gguf'")
end)
