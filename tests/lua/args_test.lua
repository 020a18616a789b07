-- SPDX-License-Identifier: Apache-2.0
-- kv.args, the nearest-name suggestions, and the text helpers that errors and tables are made of.
local args = require "kvbench.args"
local options = require "kvbench.options"
local t = require "kvbench.testing"
local text = require "kvbench.text"

local defaults = {
  passages = 60, task = "base", quick = false, presses = { "ea", "adakv" }, ratios = { 0.5 }, plot = true,
}

t.case("defaults stand when nothing is given, and are not the caller's own table", function()
  local o = args.parse(defaults, {})
  t.eq(o, defaults)
  o.passages = 1
  t.eq(defaults.passages, 60)
end)

t.case("values take the type of their default", function()
  local o = args.parse(defaults,
    { "--passages", "5", "--task=knowledge", "--quick", "--presses", "a,b,c", "--ratios=0.1,0.9" })
  t.eq(o.passages, 5)
  t.eq(o.task, "knowledge")
  t.eq(o.quick, true)
  t.eq(o.presses, { "a", "b", "c" })
  t.eq(o.ratios, { 0.1, 0.9 })
end)

t.case("booleans: bare, with a value, negated", function()
  t.eq(args.parse(defaults, { "--quick=true" }).quick, true)
  t.eq(args.parse(defaults, { "--quick=no" }).quick, false)
  t.eq(args.parse(defaults, { "--no-plot" }).plot, false)
  t.fails(function() args.parse(defaults, { "--quick=maybe" }) end, "^%-%-quick wants true or false, got 'maybe'$")
  t.fails(function() args.parse(defaults, { "--no-passages" }) end, "unknown parameter '%-%-no%-passages'")
end)

t.case("negative numbers and values with '=' are values", function()
  t.eq(args.parse({ shift = 1 }, { "--shift", "-3" }).shift, -3)
  t.eq(args.parse({ rule = "" }, { "--rule", "a=b" }).rule, "a=b")
  t.eq(args.parse({ rule = "" }, { "--rule=a=b" }).rule, "a=b")
end)

t.case("dashes and underscores are the same", function()
  t.eq(args.parse({ max_new_tokens = 4 }, { "--max-new-tokens", "8" }).max_new_tokens, 8)
  t.eq(args.parse({ max_new_tokens = 4 }, { "--max_new_tokens=9" }).max_new_tokens, 9)
end)

t.case("what cannot be understood is one line with exit status 2", function()
  local function refused(words, pattern)
    local ok, problem = pcall(args.parse, defaults, words)
    t.eq(ok, false)
    t.eq(problem.exit, 2)
    t.ok(tostring(problem):find(pattern), tostring(problem))
    t.ok(not tostring(problem):find("\n"), "one line")
  end
  refused({ "--passages", "many" }, "^%-%-passages wants a number, got 'many'$")
  refused({ "--passages", "nan" }, "wants a number")
  refused({ "--passages" }, "^%-%-passages wants a value %(default 60%)$")
  refused({ "--passages", "--quick" }, "wants a value")
  refused({ "--pasages", "3" }, "^unknown parameter '%-%-pasages' %-> did you mean '%-%-passages'%?$")
  refused({ "--zzzzzz", "3" }, "one of: %-%-passages, %-%-plot")
  refused({ "stray" }, "^unexpected argument 'stray'")
  refused({ "--presses=," }, "at least one value")
  refused({ "--ratios=0.1,x" }, "wants a number, got 'x'")
end)

t.case("--help gives nil; the text names every parameter, its default and what it is", function()
  t.eq(args.parse(defaults, { "--passages", "3", "--help" }), nil)
  local help = args.help(defaults, { passages = "how many passages" }, "no-such-script.lua")
  for _, part in ipairs {
    "%-%-passages N +how many passages +default 60", "%-%-presses A,B", "default ea,adakv", "%-%-quick ",
  } do
    t.ok(help:find(part), part .. " in:\n" .. help)
  end
end)

t.case("calling it reads `arg` and the options given to kvbench itself", function()
  local saved_arg, saved_seed = arg, options.seed
  arg, options.seed = { [0] = "x.lua", "--passages", "7" }, "B"
  local ok, o = pcall(args, { passages = 1, seed = "A" })
  arg, options.seed = saved_arg, saved_seed
  t.ok(ok, tostring(o))
  t.eq(o, { passages = 7, seed = "B" })
end)

t.case("a default that is no value is refused by name", function()
  t.fails(function() args.parse({ f = print }, {}) end, "default of 'f' is a function")
end)

t.case("edit distance by hand", function()
  t.eq(text.distance("", "abc"), 3)
  t.eq(text.distance("kitten", "sitting"), 3)
  t.eq(text.distance("knrom", "knorm"), 1) -- one swap of neighbours
  t.eq(text.distance("ca", "abc"), 3) -- the restricted distance; unrestricted Damerau-Levenshtein would say 2
  t.eq(text.distance("same", "same"), 0)
end)

t.case("nearest: slips are found, strangers are not", function()
  local names = { "knorm", "snapkv", "streaming_llm", "expected_attention" }
  t.eq(text.nearest("snpakv", names), "snapkv")
  t.eq(text.nearest("streaming-llm", names), "streaming_llm")
  t.eq(text.nearest("expected", names), "expected_attention")
  t.eq(text.nearest("quantum", names), nil)
  t.eq(text.nearest("", names), nil)
  t.eq(text.nearest("cat", { "car", "bat" }), "bat") -- a tie goes to the alphabet
end)

t.case("bytes, durations and counts", function()
  t.eq(text.bytes(0), "0 B")
  t.eq(text.bytes(1023), "1023 B")
  t.eq(text.bytes(1536), "1.5 KiB")
  t.eq(text.bytes(3 * 2 ^ 30), "3.0 GiB")
  t.eq(text.duration(0.4249), "0.42 s")
  t.eq(text.duration(59.97), "1 min 00 s")
  t.eq(text.duration(245), "4 min 05 s")
  t.eq(text.duration(3600 * 3 + 7 * 60), "3 h 07 min")
  t.eq(text.duration(math.huge), "?")
  t.eq(text.count(134515008), "134.5 M")
  t.eq(text.count(9999), "9999")
  t.eq(text.count(12345), "12.3 k")
end)

t.case("columns: numbers flush right, text flush left, UTF-8 counted by character", function()
  t.eq(text.columns { { "press", "f1" }, { "knorm", 0.5 }, { "é", 12.25 } }, "press     f1\nknorm    0.5\né      12.25")
end)
