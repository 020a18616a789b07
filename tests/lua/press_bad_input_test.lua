-- SPDX-License-Identifier: Apache-2.0
-- Everything wrong that a user can name in kv.press or ask a press for: {what, what the user wrote, the line}.
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local tensor = require "kvbench.tensor"
local line_of = dofile(require("kvbench.paths").at "tests/lua/press_helpers.lua").line_of

local ctx = fake.new { layers = 3, heads = 6, kv_heads = 2, tokens = 25 }

-- ---- what is named in kv.press ----

local A_PRESS = "a press: a name, a file, {press = name, parameter = value} or {name =, score =}"
local ALL = "-> one of: RestoreKV, RestoreKV_plus, ablation, adakv, answer_aware, block, cam, cap, chunk, chunkkv, "
  .. "compactor, "
  .. "composed, criticaladakv, criticalkv, cur, decoding, dms, duo_attention, ea, entropy_gated_chunkkv, ..."
local LATER = " evicts while an answer is written, when '%s' is done -> prefill_decoding puts two presses one after "
  .. "the other"
local function rule(extra)
  local out = { name = "x", score = function(_, c) return c.keys:norm(-1) end }
  for key, value in pairs(extra) do out[key] = value end
  return out
end
local circle = { press = "chunk" }
circle.of = circle
local wide = { press = "composed", of = {} }
wide.of[1] = wide

local named = {
  { "nothing", {}, "press: expected a name, a file or a table, got nil" },
  { "a number", { 3 }, "press: expected a name, a file or a table, got number" },
  { "a function", { print }, "press: expected a name, a file or a table, got function" },
  { "an empty name", { "" }, "press '' is unknown " .. ALL },
  { "a slip of the keyboard", { "knrom" }, "press 'knrom' is unknown -> did you mean 'knorm'?" },
  { "KVPress's spelling", { "SnapKV" }, "press 'SnapKV' is unknown -> did you mean 'snapkv'?" },
  { "a name like no other", { "zzzzzzzzzz" }, "press 'zzzzzzzzzz' is unknown " .. ALL },
  { "a file that is not there", { "no/such.lua" }, "press: no/such.lua: No such file or directory" },
  { "an empty table", { {} }, "press given as a table: it has no name -> name = \"...\"" },
  { "a name that is a number", { { name = 3, score = print } }, "press given as a table: it has no name -> name = "
    .. "\"...\"" },
  { "no score", { { name = "x" } },
    "press 'x' given as a table: score is nil -> score = function(self, ctx) return tensor end" },
  { "a score that is no function", { { name = "x", score = 3 } },
    "press 'x' given as a table: score is number -> score = function(self, ctx) return tensor end" },
  { "a scope of its own", { rule { scope = "tokens" } },
    "press 'x' given as a table: scope 'tokens' is unknown -> head, layer, model" },
  { "a budget of its own", { rule { budget = 3 } },
    "press 'x' given as a table: budget '3' is unknown -> exact, approx, own" },
  { "needs that are a text", { rule { needs = "queries" } },
    "press 'x': needs = queries -> a table such as {queries = true} or {window_queries = 64}" },
  { "a need that nobody can observe", { rule { needs = { quries = true } } },
    "press 'x' needs 'quries', which prefill cannot observe -> did you mean 'queries'?" },
  { "a window without a size", { rule { needs = { window_queries = true } } },
    "press 'x': needs.window_queries = true, expected a number of queries" },
  { "params that are no table", { rule { params = 3 } }, "press 'x': params = 3 -> a table such as {window = 8}" },
  { "params without names", { rule { params = { 8 } } }, "press 'x': params[1] has no name -> params = {window = 8}" },
  { "params of an unknown kind", { rule { params = { a = { kind = "int", default = 3 } } } },
    "press 'x': the parameter 'a' is of kind 'int' -> a default, or kind = number, boolean, string, press, presses, "
    .. "ratios, share, seed" },
  { "a parameter with a name that is taken", { rule { params = { score = 3 } } },
    "press 'x': a parameter may not be called 'score'" },
  { "parameters that are a number", { "snapkv", 3 }, "press 'snapkv': parameters are a table, got a number -> {name = "
    .. "value}" },
  { "parameters that are a text", { "snapkv", "window_size=3" },
    "press 'snapkv': parameters are a table, got a string -> {name = value}" },
  { "a parameter without a name", { "snapkv", { 3 } },
    "press 'snapkv' has no parameter '1' -> parameters have names: {name = value}" },
  { "a parameter's name misspelt", { "snapkv", { windowsize = 3 } },
    "press 'snapkv' has no parameter 'windowsize' -> did you mean 'window_size'?" },
  { "a parameter where there is none", { "knorm", { x = 1 } }, "press 'knorm' has no parameter 'x' -> it has no "
    .. "parameters" },
  { "KVPress's ratio", { "snapkv", { compression_ratio = 0.5 } },
    "press 'snapkv' has no parameter 'compression_ratio' -> a ratio is asked for: press:keep(ctx, 0.9), ratios = {0.5, "
    .. "0.9} in a sweep" },
  { "a number as a text", { "snapkv", { window_size = "8" } }, "press 'snapkv': window_size = '8', expected a number" },
  { "NaN", { "snapkv", { window_size = 0 / 0 } }, "press 'snapkv': window_size = nan, expected a number" },
  { "infinity", { "snapkv", { window_size = math.huge } },
    "press 'snapkv': window_size = inf, expected a whole number" },
  { "half a token", { "snapkv", { window_size = 2.5 } }, "press 'snapkv': window_size = 2.5, expected a whole number" },
  { "too little", { "snapkv", { window_size = 0 } }, "press 'snapkv': window_size = 0, expected at least 1" },
  { "too much", { "adakv", { alpha_safeguard = 1.5 } }, "press 'adakv': alpha_safeguard = 1.5, expected at most 1" },
  { "an even kernel", { "snapkv", { kernel_size = 4 } }, "press 'snapkv': kernel_size = 4, expected an odd number" },
  { "1 for true", { "ea", { use_vnorm = 1 } }, "press 'expected_attention': use_vnorm = 1, expected a boolean" },
  { "one of several words", { "cur", { leverage_type = "keys" } },
    "press 'cur': leverage_type = 'keys' -> key, value, kv_avg or kv_product" },
  { "inside: a number", { "adakv", { of = 3 } }, "press 'adakv': of = 3, expected " .. A_PRESS },
  { "inside: nothing", { "adakv", { of = {} } }, "press 'adakv': of = {}, expected " .. A_PRESS },
  { "inside: a list", { "adakv", { of = { "snapkv" } } }, "press 'adakv': of = a table, expected " .. A_PRESS },
  { "inside: a spec without a name", { "adakv", { of = { press = 3 } } }, "press 'adakv': of = a table, expected "
    .. A_PRESS },
  { "inside: unknown", { "adakv", { of = "snapvk" } }, "press 'snapvk' is unknown -> did you mean 'snapkv'?" },
  { "inside: its parameter misspelt", { "adakv", { of = { press = "snapkv", windw_size = 3 } } },
    "press 'snapkv' has no parameter 'windw_size' -> did you mean 'window_size'?" },
  { "inside: three levels down", { "chunk", { of = { press = "adakv", of = { press = "criticalkv", of = "knrom" } } } },
    "press 'knrom' is unknown -> did you mean 'knorm'?" },
  { "inside: what decides", { "adakv", { of = "chunkkv" } },
    "press 'adakv' shares a budget among heads, but 'chunkkv' decides by itself what is kept -> a rule that only "
      .. "scores" },
  { "inside: what evicts later", { "key_rerotation", { of = "decoding" } },
    "press 'key_rerotation': 'decoding'" .. LATER:format "key_rerotation" },
  { "a decoding press before another", { "composed", { of = { "decoding", "knorm" } } },
    "press 'composed': 'decoding'" .. LATER:format "composed" },
  { "a threshold for an answer that nobody gave", { "dms", { decoding = true } },
    "press 'dms': decoding = true judges tokens one by one, without a budget -> threshold = number" },
  { "an answer's hidden states", { "dms", { of = "kvzap", threshold = 0, decoding = true } },
    "press 'dms': 'kvzap' scores by hidden states, which no token of an answer has alone -> decoding = false, or a "
    .. "rule that needs keys and values only" },
  { "an answer's queries", { "dms", { of = "ea", threshold = 0, decoding = true } },
    "press 'dms': 'ea' scores by queries, which no token of an answer has alone -> decoding = false, or a rule that "
    .. "needs keys and values only" },
  { "an answer's tokens judged, then keys moved", { "key_rerotation", { of = { press = "dms", threshold = 0,
    decoding = true } } }, "press 'key_rerotation': 'dms'" .. LATER:format "key_rerotation" },
  { "layers of what spans them", { "per_layer", { of = "simlayerkv" } },
    "press 'per_layer': 'simlayerkv' shares one budget among all layers -> a rule that ranks within a layer or head" },
  { "layers of what changes keys", { "per_layer", { of = "finch" } },
    "press 'per_layer': 'finch' changes keys or values -> 'per_layer' inside 'finch'" },
  { "a profile with a word", { "per_layer", { compression_ratios = { .2, "x" } } },
    "press 'per_layer': compression_ratios = 'x', expected ratios in [0, 1)" },
  { "a profile of one number", { "per_layer", { compression_ratios = .2 } },
    "press 'per_layer': compression_ratios = 0.2, expected a list of ratios" },
  { "a list that is a name", { "composed", { of = "knorm" } }, "press 'composed': of = 'knorm', expected a list of "
    .. "presses" },
  { "an empty list", { "composed", { of = {} } }, "press 'composed': of = {}, expected a list of presses" },
  { "a list with a number", { "composed", { of = { 3 } } }, "press 'composed': of = 3, expected " .. A_PRESS },
  { "a share above 1", { "composed", { of = { { press = "knorm", ratio = 1.5 } } } },
    "press 'composed': of: ratio = 1.5, expected a share in [0, 1), or an expression such as \"ratio/2\"" },
  { "a share that is code", { "composed", { of = { { press = "knorm", ratio = "os.exit()" } } } },
    "press 'composed': of: 'os.exit()' is no share -> a number, or an expression of ratio such as \"ratio/2\"" },
  { "a press that contains itself", { circle },
    "press 'chunk' contains itself: chunk of chunk of chunk of chunk of chunk of chunk of chunk of chunk of chunk" },
  { "a list that contains itself", { wide }, "press 'composed' contains itself: composed of composed of composed of "
    .. "composed of composed of composed of composed of composed of composed" },
  { "a budget under the sinks", { "decoding", { of = "streaming_llm", target_size = 4 } },
    "press 'decoding': a budget of 4 tokens is under the 4 sinks that 'streaming_llm' always keeps -> at least 5" },
  { "a budget under the sinks of what is inside", { "decoding", { of = { press = "adakv", of = "ea" },
    target_size = 2 } },
    "press 'decoding': a budget of 2 tokens is under the 4 sinks that 'adakv' always keeps -> at least 5" },
  { "a press twice made", { kv.press "knorm", { x = 1 } },
    "press 'knorm' is already made -> kv.press(\"knorm\", {...})" },
}

for _, case in ipairs(named) do
  t.case("kv.press: " .. case[1], function()
    t.eq(line_of(function() kv.press(unpack(case[2], 1, 2)) end), case[3])
  end)
end

-- ---- what a press is asked for ----

local CONTEXT = " -> ctx = model:prefill(text, press.needs)"
local OUTSIDE = " is outside [0, 1) -> 0 evicts nothing, 0.9 evicts 90 %"
local knorm = kv.press "knorm"
local few = setmetatable({ queries = ctx.queries:slice(3, -3) }, { __index = ctx })

local asked = {
  { "no context", function() knorm:keep(nil, 0.5) end, "press 'knorm': press:keep takes a context, got nothing"
    .. CONTEXT },
  { "a text", function() knorm:keep("text", 0.5) end, "press 'knorm': press:keep takes a context, got a string"
    .. CONTEXT },
  { "a table", function() knorm:score {} end, "press 'knorm': press:score takes a context, got a table" .. CONTEXT },
  { "a dot for a colon", function() knorm.keep(ctx, 0.5) end,
    "press.keep(ctx, ratio): a method is called with a colon -> press:keep(ctx, 0.9)" },
  { "no ratio", function() knorm:keep(ctx) end, "ratio: 'nil' is not a number -> a share evicted such as 0.9" },
  { "a word", function() knorm:keep(ctx, "half") end, "ratio: 'half' is not a number -> a share evicted such as 0.9" },
  { "NaN", function() knorm:keep(ctx, 0 / 0) end, "ratio: 'nan' is not a number -> a share evicted such as 0.9" },
  { "everything", function() knorm:keep(ctx, 1) end, "ratio: 1" .. OUTSIDE },
  { "per cent", function() knorm:keep(ctx, 50) end, "ratio: 50" .. OUTSIDE },
  { "less than nothing", function() knorm:keep(ctx, -0.1) end, "ratio: -0.1" .. OUTSIDE },
  { "one ratio for a list", function() knorm:keeps(ctx, 0.5) end,
    "press 'knorm': press:keeps takes a list of ratios, got a number -> press:keeps(ctx, {0.5, 0.9}), or "
      .. "press:keep(ctx, 0.9)" },
  { "tokens that are not there", function() knorm:keep(ctx, 0.5, { evictable = { 3, 99 } }) end,
    "press 'knorm': evictable tokens [3, 99) do not lie inside a context of 25" },
  { "no tokens", function() knorm:keep(ctx, 0.5, { evictable = { 9, 9 } }) end,
    "press 'knorm': evictable tokens [9, 9) do not lie inside a context of 25" },
  { "half a token", function() knorm:keep(ctx, 0.5, { evictable = { 0.5, 9 } }) end,
    "press 'knorm': evictable tokens [0.5, 9) do not lie inside a context of 25" },
  { "tokens as a text", function() knorm:keep(ctx, 0.5, { evictable = "3-9" }) end,
    "press 'knorm': evictable = 3-9 -> {from, to}, tokens counted from 0" },
  { "a profile of another model", function() kv.press("per_layer", { compression_ratios = { 0.2, 0.3 } }):keep(ctx,
    0.5) end,
    "press 'per_layer': compression_ratios has 2 ratios, the context has 3 layers" },
  { "one set for heads that differ", function() kv.press("composed", { of = { "adakv", "tova" } }):keep(ctx, 0.5) end,
    "press 'composed': 'adakv' left the heads different numbers of tokens, and 'tova' does not judge each head alone "
    .. "-> put 'adakv' last" },
  { "the attention among tokens that are gone", function() kv.press("composed", { of = { "knorm", "h2o" } }) end,
    "press 'composed': 'h2o' needs the attention among all tokens -> put it first" },
  { "queries that nobody kept, and no text to read again", function() kv.press("ea"):keep(few, 0.5) end,
    "press 'ea' needs the last 25 queries of the context, prefill kept 3 of 25 -> model:prefill(text, press.needs)" },
  { "a question that nobody asked", function() kv.press("oracle"):keep(ctx, 0.5) end,
    "press 'oracle' needs to know what will be asked -> question = \"...\", or ctx.questions = {{q = text}, ...} (or "
      .. "ids =)" },
}

for _, case in ipairs(asked) do
  t.case("asked for: " .. case[1], function()
    t.eq(line_of(case[2]), case[3])
  end)
end
