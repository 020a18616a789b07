-- SPDX-License-Identifier: Apache-2.0
-- Everything wrong that a user's `score` can return or raise: one table of cases with the line that each must give.
-- {what, the score, the line}; HERE in a line is where the score was written.
local t = require "kvbench.testing"
local kv = require "kvbench"
local fake = require "kvbench.fake_context"
local ffi = require "ffi"
local tensor = require "kvbench.tensor"
local line_of = dofile(require("kvbench.paths").at "tests/lua/press_helpers.lua").line_of

local ctx = fake.new { layers = 3, heads = 6, kv_heads = 2, tokens = 25 }
local right = tensor.randn({ 3, 2, 25 }, 1)

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
