-- SPDX-License-Identifier: Apache-2.0
-- Everything that a user can return from `score`, name in kv.press, or ask a press for, that is wrong: one table of
-- cases with the line that each must give. {what, what the user wrote, the line}; HERE in a line is where the score was
-- written.
local t = require "kvbench.testing"
local kv = require "kvbench"
local errors = require "kvbench.errors"
local fake = require "kvbench.fake_context"
local ffi = require "ffi"
local tensor = require "kvbench.tensor"

local ctx = fake.new { layers = 3, heads = 6, kv_heads = 2, tokens = 25 }
local right = tensor.randn({ 3, 2, 25 }, 1)

-- What the prompt prints for what fn raises.
local function line_of(fn)
  local ok, raised = errors.call(fn)
  return ok and "nothing was raised" or raised.text
end

-- ---- what a score returns or raises ----

local WANTED = ", expected a tensor [layers 3, kv_heads 2, tokens 25] -> return one number per token, higher = keep"
local SHAPE = "press 'mine' (HERE): score has shape %s, expected [layers 3, kv_heads 2, tokens 25] -> "
local EVERY = "one number per token of every layer and KV head: ctx.layers, ctx.kv_heads, ctx.tokens"
local TOKENS = "score every token; what a rule always keeps gets math.huge: scores:pad(front, back, math.huge)"
local NAN = "press 'mine' (HERE): score is NaN at layer %d, head %d, token %d -> 0/0, inf - inf or the log of a "
  .. "negative "
  .. "number; print(ctx.keys) shows NaN and inf in the inputs"
local YIELD = "press 'mine' (HERE): score yielded -> it must return a tensor; a coroutine of your own inside of it may "
  .. "yield"

local function elsewhere(x)
  local copy = ffi.new("kvb_tensor", x)
  copy.device_id = ffi.C.KVB_DEVICE_CUDA
  return copy
end

local scores = {
  { "nothing", function() end, "press 'mine' (HERE): score returned nothing" .. WANTED },
  { "nil", function() return nil end, "press 'mine' (HERE): score returned nothing" .. WANTED },
  { "a number", function() return 3 end, "press 'mine' (HERE): score returned a number" .. WANTED },
  { "a string", function() return "x" end, "press 'mine' (HERE): score returned a string" .. WANTED },
  { "a boolean", function() return true end, "press 'mine' (HERE): score returned a boolean" .. WANTED },
  { "a table", function() return { 1, 2 } end, "press 'mine' (HERE): score returned a table" .. WANTED },
  { "a function", function() return print end, "press 'mine' (HERE): score returned a function" .. WANTED },
  { "a pointer", function(_, c) return c.keys.data end, "press 'mine' (HERE): score returned a cdata" .. WANTED },
  { "a keep-set", function(_, c) return kv.press("knorm"):keep(c, 0.5) end,
    "press 'mine' (HERE): score returned a table" .. WANTED },
  { "a closed tensor", function(_, c)
    local x = c.keys:norm(-1)
    x:close()
    return x
  end, "press 'mine' (HERE): score returned a tensor that was closed" .. WANTED },
  { "a tensor on another device", function() return elsewhere(right) end,
    "press 'mine' (HERE): score is on cuda:0, the context on cpu -> score:to(\"cpu\")" },
  { "0 dimensions", function() return tensor.full({}, 1) end, SHAPE:format "[]" .. EVERY },
  { "1 dimension", function() return tensor.ones(25) end, SHAPE:format "[25]" .. EVERY },
  { "2 dimensions", function() return tensor.ones(2, 25) end, SHAPE:format "[2, 25]" .. EVERY },
  { "4 dimensions", function(_, c) return c.keys end,
    SHAPE:format "[3, 2, 25, 8]" .. "one number per token is wanted: reduce the last dimension, e.g. :norm(-1) or "
      .. ":mean(-1)" },
  { "5 dimensions", function() return tensor.ones(1, 3, 2, 25, 1) end, SHAPE:format "[1, 3, 2, 25, 1]" .. EVERY },
  { "wrong layers", function() return tensor.ones(2, 2, 25) end,
    SHAPE:format "[2, 2, 25]" .. "ctx may be a block of the model's layers: ctx.layers of them, from ctx.layer_first" },
  { "query heads", function(_, c) return c.queries:norm(-1) end,
    SHAPE:format "[3, 6, 25]" .. "average over the 3 query heads of each KV head: scores:group_mean(ctx.group_size)" },
  { "wrong heads", function() return tensor.ones(3, 1, 25) end, SHAPE:format "[3, 1, 25]" .. EVERY },
  { "too few tokens", function(_, c) return c.keys:norm(-1):slice(3, 2) end, SHAPE:format "[3, 2, 24]" .. TOKENS },
  { "too many tokens", function() return tensor.ones(3, 2, 26) end, SHAPE:format "[3, 2, 26]" .. EVERY },
  { "the tokens of another context", function()
    return fake.new({ layers = 3, kv_heads = 2, tokens = 40 }).keys:norm(-1)
  end, SHAPE:format "[3, 2, 40]" .. EVERY },
  { "no tokens", function() return tensor.ones(3, 2, 0) end, SHAPE:format "[3, 2, 0]" .. TOKENS },
  { "dimensions in another order", function() return right:permute(3, 2, 1) end, SHAPE:format "[25, 2, 3]" .. EVERY },
  { "NaN everywhere", function() return right * (0 / 0) end, NAN:format(0, 0, 0) },
  { "one NaN", function()
    local x = right:clone()
    x:select(1, 3):select(1, 2):narrow(1, 8, 1):fill_(0 / 0)
    return x
  end, NAN:format(2, 1, 7) },
  { "inf - inf", function() return right * math.huge - right * math.huge end, NAN:format(0, 0, 0) },
  { "a yield", function() coroutine.yield(right) end, YIELD },
  { "error() with a table", function() error { code = 3 } end,
    "press 'mine' (HERE), layers 0 to 2: error() was called with a table -> give it a text" },
  { "error() with a table that has a text", function()
    error(setmetatable({}, { __tostring = function() return "no such luck" end }))
  end, "press 'mine' (HERE+1), layers 0 to 2: no such luck" },
  { "error() with nothing", function() error() end,
    "press 'mine' (HERE), layers 0 to 2: error() was called with nothing -> give it a text" },
  { "error() with a number", function() error(42, 0) end, "press 'mine' (HERE), layers 0 to 2: 42" },
  { "error() with a text", function() error "not today" end, "press 'mine' (HERE), layers 0 to 2: not today" },
  { "a field that is not there", function(_, c) return c.keyz.x end,
    "press 'mine' (HERE), layers 0 to 2: attempt to index field 'keyz' (a nil value)" },
  { "a method that is not there", function(_, c) return c.keys:nrom(-1) end,
    "press 'mine' (HERE), layers 0 to 2: tensor: no method or field 'nrom' -> did you mean 'norm'?" },
  { "a product of wrong shapes", function(_, c) return c.keys:matmul(c.values) end,
    "press 'mine' (HERE), layers 0 to 2: matmul: shapes [3, 2, 25, 8] and [3, 2, 25, 8] do not fit: 8 columns and 25 "
      .. "rows" },
  { "endless recursion", function()
    local function f(x) return 1 + f(x + 1) end
    return f(1)
  end, "press 'mine' (HERE+1), layers 0 to 2: stack overflow" },
  { "more memory than there is", function() return tensor.zeros(100000, 100000, 1000) end,
    "press 'mine' (HERE), layers 0 to 2: out of memory: could not allocate 40000000000000 bytes (N in use) -> "
    .. "use a smaller model, fewer passages at once, or --dtype bf16" },
}

for _, case in ipairs(scores) do
  t.case("score: " .. case[1], function()
    local info = debug.getinfo(case[2], "S")
    local function at(offset) return ("%s:%d"):format(info.short_src, info.linedefined + (tonumber(offset) or 0)) end
    local got = line_of(function() kv.press({ name = "mine", score = case[2] }):keep(ctx, 0.5) end)
    t.eq((got:gsub("%d+ in use", "N in use")), (case[3]:gsub("HERE%+?(%d*)", at)))
  end)
end

t.case("score: a yield inside somebody's own coroutine", function()
  local rule = { name = "mine", score = function() coroutine.yield(right) end }
  local outer = coroutine.wrap(function()
    return line_of(function() kv.press("adakv", { of = rule }):keep(ctx, 0.5) end)
  end)
  t.ok(outer():find "^press 'mine' %(.*%): score yielded %-> it must return a tensor")
end)

t.case("score: what is allowed", function()
  local expected = 3 * 2 * 12
  for name, score in pairs {
    inf = function() return right * 0 + math.huge end, minus_inf = function() return right * 0 - math.huge end,
    i32 = function() return (right * 100):to "i32" end, u8 = function() return right:gt(0):to "u8" end,
    i64 = function() return right:to "i64" end, f16 = function() return right:to "f16" end,
    strided = function() return right:permute(3, 2, 1):contiguous():permute(3, 2, 1) end,
    comparison = function() return right:gt(0) end, ranks = function() return right:rank(-1) end,
    generator = function()
      for x in coroutine.wrap(function() coroutine.yield(right) end) do return x end
    end,
  } do
    t.eq(kv.press({ name = "mine", score = score }):keep(ctx, 0.5):total(), expected, name)
  end
end)

t.case("score: the rule's own tensor is not written to, and stays open", function()
  local before = right:clone()
  local press = kv.press { name = "mine", score = function(_, c) return right:narrow(1, c.layer_first + 1,
    c.layers) end }
  press:keep(ctx, 0.5, { evictable = { 3, 20 } })
  kv.press("chunk", { of = press, chunk_length = 25 }):keep(ctx, 0.5, { evictable = { 3, 20 } })
  t.eq((right - before):abs():max(), 0)
end)

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

-- ---- files that a press reads ----

local folder = os.tmpname()
os.remove(folder)
assert(os.execute(("mkdir -p '%s/duo'"):format(folder)) == 0)
local function write(name, content)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(content)
  file:close()
end
local function npy(shape, numbers)
  local header = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n"):format(shape)
  write("curve.npy", "\147NUMPY\1\0" .. string.char(#header, 0) .. header .. numbers)
end
local function tensors(name, given, cut)
  require("kvbench.weights_write").write(folder .. "/" .. name, given)
  local file = assert(io.open(folder .. "/" .. name, "rb"))
  local content = file:read "*a"
  file:close()
  if cut then write(name, content:sub(1, -1 - cut)) end
end
local function pattern(rows, sizes)
  write("duo/full_attention_heads.tsv", rows)
  write("duo/config.json", sizes or "{}")
end

local function gates(family)
  local path = require("kvbench.paths").at("tests/golden/presses/" .. family .. "/gates.pt")
  local file = assert(io.open(path, "rb"))
  local content = file:read "*a"
  file:close()
  return content
end

local model = kv.model.load(require("kvbench.paths").at "tests/golden/models/llama", { dtype = "f32" })
local ids = {}
for i = 1, 40 do ids[i] = 3 + i * 29 % 120 end
local real = model:prefill(ids, { queries = true, hidden = true })
local MODEL = ", this model needs [2, 2, 16] -> take the file of this model"

-- What lies in DIR, the press, its parameters, the line.
local read = {
  { "no filters", nil, "qfilter", { path = "DIR/none" }, "press 'qfilter' needs filters of llama: there is no file "
    .. "'DIR/none' -> kvbench scripts/calibrate.lua --model MODEL makes them; published ones: nthngdy/MODEL_qfilt on "
    .. "Hugging Face; or path = \"...\"" },
  { "no statistics", nil, "expected_attention_stats", { stats_folder = "DIR" },
    "press 'expected_attention_stats' needs "
    .. "query statistics of llama: there is no file 'DIR/model.safetensors' -> kvbench scripts/calibrate.lua --model "
      .. "MODEL "
    .. "makes them; published ones: alessiodevoto/exp_att_stats_* on Hugging Face; or stats_folder = \"...\"" },
  { "no surrogate", nil, "kvzap", { path = "DIR", model_type = "linear" },
    "press 'kvzap' needs the trained surrogate of "
    .. "llama: there is no file 'DIR/model.safetensors' -> published ones: nvidia/KVzap-linear-MODEL on Hugging Face; "
      .. "or "
    .. "path = \"...\"" },
  { "no gates", nil, "fastkvzip", { path = "DIR" }, "press 'fastkvzip' needs trained gates of llama: there is no file "
    .. "'DIR/q2_dim16_sink16.pt' -> published ones: Jang-Hyun/Fast-KVzip on Hugging Face; or path = \"...\"" },
  { "no restore tokens", nil, "restorekv_plus", { path = "DIR" }, "press 'restorekv_plus' needs restore embeddings of "
    .. "llama: there is no file 'DIR/restore_embeddings.safetensors' -> published for Llama-3.1-8B-Instruct and "
      .. "Qwen3-8B: "
    .. "higokri/RestoreKV-MODEL_plus on Hugging Face; or path = \"...\"" },
  { "no curve", nil, "lukv", { path = "DIR/none.npy" }, "press 'lukv' needs a budget curve of llama: there is no file "
    .. "'DIR/none.npy' -> published ones: evaluation/curve_data of baidu-baige/LU-KV; or path = \"...\"" },
  { "no pattern", nil, "duo_attention", { path = "DIR/none" }, "press 'duo_attention' needs a head pattern of llama: "
    .. "there "
    .. "is no file 'DIR/none' -> kvbench scripts/calibrate.lua --model MODEL makes one; published ones: attn_patterns "
      .. "of "
    .. "mit-han-lab/duo-attention; or path = \"...\"" },
  { "a text", function() write("a", "these are not the weights you are looking for") end, "qfilter", { path = "DIR/a" },
    "press 'qfilter': 'DIR/a' is neither a GGUF nor a safetensors file: it begins with 'these ar' -> expected a "
    .. "safetensors file" },
  { "nothing in it", function() write("a", "") end, "kvzap", { path = "DIR/a" },
    "press 'kvzap': the model file 'DIR/a' is empty (0 bytes) -> expected a safetensors file" },
  { "its numbers cut short", function() tensors("a", { q_filters = tensor.ones(2, 2, 16) }, 10) end, "qfilter",
    { path = "DIR/a" }, "press 'qfilter': safetensors 'DIR/a': tensor 'q_filters' ends at byte 336, the file has 326 "
      .. "bytes "
    .. "-> the file may be cut short: fetch it again" },
  { "its header cut short", function() tensors("a", { q_filters = tensor.ones(2, 2, 16) }, 316) end, "qfilter",
    { path = "DIR/a" }, "press 'qfilter': safetensors 'DIR/a': the header claims 72 bytes, the file has 20 (and the "
      .. "format "
    .. "allows 100000000) -> the file is cut short or no safetensors file: fetch it again" },
  { "another model's", function() tensors("a", { q_filters = tensor.ones(2, 2, 7) }) end, "qfilter", { path = "DIR/a" },
    "press 'qfilter': 'DIR/a' has q_filters of shape [2, 2, 7]" .. MODEL },
  { "another press's", function() tensors("a", { q_filters = tensor.ones(2, 2, 16) }) end, "expected_attention_stats",
    { stats_folder = "DIR/a" },
    "press 'expected_attention_stats': 'DIR/a' has no tensor 'query_cov' -> take the file that belongs to this press" },
  { "NaN in it", function() tensors("a", { q_filters = tensor.ones(2, 2, 16) * (0 / 0) }) end, "qfilter", {
    path = "DIR/a" },
    "press 'qfilter': 'DIR/a' has NaN in q_filters -> fetch it again" },
  { "gates that are a text", function() write("g.pt", "import os") end, "fastkvzip", { path = "DIR/g.pt" },
    "press 'fastkvzip': 'DIR/g.pt': this is no zip file, as torch.save writes them since version 1.6" },
  { "gates cut short", function() write("g.pt", gates "llama":sub(1, -2000)) end, "fastkvzip", { path = "DIR/g.pt" },
    "press 'fastkvzip': 'DIR/g.pt': this is no zip file, as torch.save writes them since version 1.6" },
  { "gates that run code", function() write("g.pt", (gates "llama":gsub("torch%._utils\n", "posix.system\n"))) end,
    "fastkvzip", { path = "DIR/g.pt" },
    "press 'fastkvzip': 'DIR/g.pt': layer 0 has no 'q_norm.weight' -> expected gates of Fast KVzip" },
  { "gates with another instruction", function() write("g.pt", (gates "llama":gsub("\128\2}", "\128\2i"))) end,
    "fastkvzip",
    { path = "DIR/g.pt" },
    "press 'fastkvzip': 'DIR/g.pt': its program has the instruction 0x69, which builds nothing that is read here" },
  { "another model's gates", function() write("g.pt", gates "llama") end, "fastkvzip", { path = "DIR/g.pt" }, "press "
    .. "'fastkvzip': 'DIR/g.pt': layer 0 has q_proj.weight of shape [48, 48], this model needs [32, 64] -> take the "
      .. "file "
    .. "of this model" },
  { "restore tokens of another model", function() tensors("restore_embeddings.safetensors", { restore_embeddings =
    tensor.ones(5, 48) }) end, "restorekv", { path = "DIR" }, "press 'restorekv': 'DIR/restore_embeddings.safetensors' "
      .. "has "
    .. "restore_embeddings of shape [5, 48], this model needs [-1, 64] -> take the file of this model" },
  { "no adapter", function() tensors("restore_embeddings.safetensors", { restore_embeddings = tensor.ones(5, 64) }) end,
    "restorekv", { path = "DIR" }, "press 'restorekv': 'DIR/adapter_config.json': No such file or directory -> the "
    .. "adapter's configuration lies beside its weights" },
  { "no LoRA", function() write("adapter_config.json", '{"peft_type": "IA3"}') end, "restorekv", { path = "DIR" },
    "press 'restorekv': 'DIR/adapter_config.json': peft_type is IA3, expected LORA" },
  { "a rank of nothing", function() write("adapter_config.json", '{"peft_type": "LORA", "r": 0}') end, "restorekv",
    { path = "DIR" }, "press 'restorekv': 'DIR/adapter_config.json': r is 0, expected a number" },
  { "DoRA", function() write("adapter_config.json",
    '{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_dora": true}') end,
    "restorekv", { path = "DIR" },
    "press 'restorekv': 'DIR/adapter_config.json': 'use_dora' is set, which is not supported here" },
  { "an adapter of something else", function()
    write("adapter_config.json", '{"peft_type": "LORA", "r": 2, "lora_alpha": 4}')
    tensors("adapter_model.safetensors", { ["base_model.model.lm_head.lora_A.weight"] = tensor.ones(2, 32) })
  end, "restorekv", { path = "DIR" }, "press 'restorekv': 'DIR/adapter_model.safetensors' has a tensor "
    .. "'base_model.model.lm_head.lora_A.weight' that is not of a LoRA on a decoder's projections" },
  { "an adapter of another model", function()
    local name = "base_model.model.model.layers.0.self_attn.q_proj.lora_%s.weight"
    tensors("adapter_model.safetensors", { [name:format "A"] = tensor.ones(2, 48), [name:format "B"] = tensor.ones(32,
      2) })
  end, "restorekv", { path = "DIR" }, "press 'restorekv': 'DIR/adapter_model.safetensors' has base_model.model.model."
    .. "layers.0.self_attn.q_proj.lora_A.weight of shape [2, 48], this model needs [2, 64] -> take the adapter of this "
      .. "model" },
  { "a curve that is none", function() write("curve.npy", "hello, world") end, "lukv", { path = "DIR/curve.npy" },
    "press 'lukv': npy 'DIR/curve.npy': this is not a .npy file -> take the published .npy" },
  { "a curve cut short", function() npy("99, 2, 2", "") end, "lukv", { path = "DIR/curve.npy" },
    "press 'lukv': npy 'DIR/curve.npy': 0 bytes of numbers, its shape needs 1584 -> take the published .npy" },
  { "a curve of another model", function() npy("99, 2, 3", ("\0"):rep(2376)) end, "lukv", { path = "DIR/curve.npy" },
    "press 'lukv': 'DIR/curve.npy' has shape [99, 2, 3], this model needs [99, 2, 2] -> take the curve of this model" },
  { "a curve of NaN", function() npy("99, 2, 2", ("\255"):rep(1584)) end, "lukv", { path = "DIR/curve.npy" },
    "press 'lukv': npy 'DIR/curve.npy': it holds NaN or infinity -> take the published .npy" },
  { "a curve that is no share", function() npy("99, 2, 2", ("\0\0\0\64"):rep(396)) end, "lukv", {
    path = "DIR/curve.npy" },
    "press 'lukv': 'DIR/curve.npy' holds 2 to 2, expected shares evicted, 0 to 1" },
  { "an empty pattern", function() pattern "" end, "duo_attention", { path = "DIR/duo" }, "press 'duo_attention': "
    .. "'DIR/duo/full_attention_heads.tsv' has 0 layers of 0 heads, the model 2 of 2 -> take the file of this model" },
  { "a pattern with a hole", function() pattern "0.1 0.2\n0.1\n" end, "duo_attention", { path = "DIR/duo" }, "press "
    .. "'duo_attention': 'DIR/duo/full_attention_heads.tsv' has 2 layers of 1 heads, the model 2 of 2 -> take the file "
      .. "of "
    .. "this model" },
  { "a pattern with a word", function() pattern "0.1 0.2\n0.1 x\n" end, "duo_attention", { path = "DIR/duo" },
    "press 'duo_attention': 'DIR/duo/full_attention_heads.tsv': 'x' is not a number" },
  { "sizes that are no JSON", function() pattern("0.1 0.2\n0.1 0.3\n", "{") end, "duo_attention", { path = "DIR/duo" },
    "press 'duo_attention': 'DIR/duo/config.json' is no JSON object: JSON text: not valid JSON at line 1, column 1 "
      .. "(byte 1 "
    .. "of 1): string or '}' expected near end of file" },
  { "a size that is a word", function() pattern("0.1 0.2\n0.1 0.3\n", "{\"sink_size\": \"a\"}") end, "duo_attention",
    { path = "DIR/duo" }, "press 'duo_attention': 'DIR/duo/config.json': sink_size = a, expected a whole number" },
}

for _, case in ipairs(read) do
  t.case("files: " .. case[1], function()
    local params = {}
    for name, value in pairs(case[4]) do params[name] = value:gsub("DIR", folder) end
    if case[2] then case[2]() end
    local got = line_of(function() kv.press(case[3], params):keep(real, 0.5) end)
    t.eq(got, (case[5]:gsub("DIR", folder)))
  end)
end
os.execute(("rm -rf '%s'"):format(folder))
