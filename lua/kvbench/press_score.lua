-- SPDX-License-Identifier: Apache-2.0
-- Runs a rule's score and judges what comes back, before anything is decided by it: a user's function may return
-- anything and raise anything, and whatever is wrong becomes one line that names the press, the place and what to do.
local tensor = require "kvbench.tensor"

local M = {}

local function where(press)
  local info = debug.getinfo(press.rule.score, "S")
  return ("press '%s' (%s:%d)"):format(press.name, info.short_src, info.linedefined)
end

-- A score of another shape: what it should be, and the likeliest mistake.
local function wrong_shape(press, score, ctx)
  local n, hint = score.ndim, "one number per token of every layer and KV head: ctx.layers, ctx.kv_heads, ctx.tokens"
  if n == 4 then
    hint = "one number per token is wanted: reduce the last dimension, e.g. :norm(-1) or :mean(-1)"
  elseif n == 3 and score:size(2) == ctx.heads and ctx.heads ~= ctx.kv_heads then
    hint = ("average over the %d query heads of each KV head: scores:group_mean(ctx.group_size)"):format(
      ctx.heads / ctx.kv_heads)
  elseif n == 3 and score:size(1) == ctx.layers and score:size(2) == ctx.kv_heads and score:size(3) < ctx.tokens then
    hint = "score every token; what a rule always keeps gets math.huge: scores:pad(front, back, math.huge)"
  elseif n == 3 and score:size(1) ~= ctx.layers and score:size(2) == ctx.kv_heads and score:size(3) == ctx.tokens then
    hint = "ctx may be a block of the model's layers: ctx.layers of them, from ctx.layer_first"
  end
  error(("%s: score has shape %s, expected [layers %d, kv_heads %d, tokens %d]\n-> %s"):format(where(press),
    tensor.show(score), ctx.layers, ctx.kv_heads, ctx.tokens, hint), 0)
end

-- The text of whatever was raised.
local function text_of(raised)
  if type(raised) == "string" or type(raised) == "number" then return tostring(raised) end
  if (getmetatable(raised) or {}).__tostring then return tostring(raised) end
  return ("error() was called with %s -> give it a text"):format(raised == nil and "nothing" or "a " .. type(raised))
end

-- The line of the press's own file that runs, seen from inside of an error handler.
local function line_of(press)
  local source = debug.getinfo(press.rule.score, "S").source
  for level = 3, 80 do
    local info = debug.getinfo(level, "Sl")
    if not info then return nil end
    if info.source == source and info.currentline > 0 then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
end

-- For xpcall: whatever goes wrong inside a score is told with the press, the line of its file and the layers.
local function told(press, ctx)
  return function(raised)
    local text = text_of(raised)
    if text:find "^press '" then return text end -- of a press inside
    local line = line_of(press)
    local own = line and text:sub(1, #line + 2) == line .. ": "
    local last = ctx.layer_first + ctx.layers - 1
    return ("press '%s' (%s), %s: %s"):format(press.name, line or where(press):match "%((.*)%)",
      last > ctx.layer_first and ("layers %d to %d"):format(ctx.layer_first, last) or "layer " .. ctx.layer_first,
      own and text:sub(#line + 3) or text)
  end
end

-- The score runs in a coroutine of its own, so that one that yields does not leave in the middle of a decision.
local function run(press, ctx, ratio)
  local thread = coroutine.create(function() return xpcall(press.rule.score, told(press, ctx), press, ctx, ratio) end)
  local resumed, ok, score = coroutine.resume(thread)
  if coroutine.status(thread) ~= "dead" then
    error(("%s: score yielded\n-> it must return a tensor; a coroutine of your own inside of it may yield"):format(
      where(press)), 0)
  end
  if not (resumed and ok) then error(resumed and score or ok, 0) end
  return score
end

local function expect_tensor(press, score, ctx)
  local what
  if not tensor.is(score) then
    what = score == nil and "nothing" or "a " .. type(score)
  elseif score.ndim == 0 and score.data == nil then
    what = "a tensor that was closed"
  elseif score.device ~= (ctx.device or "cpu") then
    error(("%s: score is on %s, the context on %s\n-> score:to(\"%s\")"):format(where(press), score.device,
      ctx.device or "cpu", ctx.device or "cpu"), 0)
  else
    return
  end
  error(("%s: score returned %s, expected a tensor [layers %d, kv_heads %d, tokens %d]\n"
    .. "-> return one number per token, higher = keep"):format(where(press), what, ctx.layers, ctx.kv_heads,
      ctx.tokens), 0)
end

--- The score of one block of layers, checked: a contiguous f32 tensor [layers, kv_heads, tokens] without NaN; +inf and
--- -inf are allowed. It may be the rule's own tensor: not to be written to.
function M.checked(press, ctx, ratio)
  local score = run(press, ctx, ratio)
  expect_tensor(press, score, ctx)
  if score.ndim ~= 3 or score:size(1) ~= ctx.layers or score:size(2) ~= ctx.kv_heads or score:size(3) ~= ctx.tokens then
    wrong_shape(press, score, ctx)
  end
  score = score:type() == "f32" and score:contiguous() or score:to("f32")
  local largest = score:max()
  if largest ~= largest then -- NaN is the largest of anything that holds one
    local at = tensor.locate_nan(score)
    error(("%s: score is NaN at layer %d, head %d, token %d\n"
      .. "-> 0/0, inf - inf or the log of a negative number; print(ctx.keys) shows NaN and inf in the inputs")
      :format(where(press), ctx.layer_first + at[1] - 1, at[2] - 1, at[3] - 1), 0)
  end
  return score
end

return M
