-- SPDX-License-Identifier: Apache-2.0
-- Averages of rotary position embeddings, for rules that do not know the position of the queries to come. Turning
-- keys and
-- queries: t:rope(cos, sin), t:rope_inverse(cos, sin).
local tensor = require "kvbench.tensor"

local core = require "kvbench.tensor.core"

local M = {}

-- On the host a model's own tables [n, d] (on a GPU one row for all) go through the decoder's op: one pass instead of
-- six.
local function in_one_pass(x, cos, sin)
  local n, d, rows = x:size(-2), x:size(-1), cos:size(1)
  local out, count = core.output(x, core.sizes(x)):copy_(x), x:numel() / d
  local position, heads
  if rows == 1 then -- n vectors at one position, like the heads of a token
    position, heads = tensor.on(x.device, tensor.zeros, { count / n }, "i32"), n
  else
    position, heads = tensor.arange(rows):to("i32"):view(1, n):expand(count / n, n):contiguous():view(count), 1
  end
  core.run("rope", out:view(count / heads, heads, d), cos:contiguous(), sin:contiguous(), position)
  return out
end

--- x [..., n, head_dim] rotated by cos, sin [n, head_dim] (or [1, head_dim], for all the same).
function M.apply(x, cos, sin)
  local rows = cos.ndim == 2 and x.ndim > 1 and x:numel() > 0 and cos:size(1)
  if rows and (rows == 1 or x.device == "cpu") then return in_one_pass(x, cos, sin) end
  return x:rope(cos, sin)
end

--- x turned by the transposed matrix: back, by the same angles.
function M.apply_transposed(x, cos, sin) return M.apply(x, cos, -sin) end

--- What apply() rotated, before it: keys of a cache without their positions (also where cos and sin carry a factor).
function M.undo(x, cos, sin) return x:rope_inverse(cos, sin) end

-- Position of every token: a number (of the first one), or [layers, kv_heads, tokens] where heads hold picked tokens;
-- and the positions that there are.
local function positions(ctx)
  if not ctx.index then
    local first = ctx.token_first or 0
    return first, first + ctx.tokens
  end
  local base, total = positions(ctx.source)
  if type(base) == "number" then return ctx.index:to "f32" + (base - 1), total end
  return base:gather(3, ctx.index), total
end

--- The keys of a context without their positions, also where they were picked out of a longer one.
function M.keys_before(ctx)
  local at, total = positions(ctx)
  if type(at) == "number" then return M.undo(ctx.keys, ctx:rope(at, ctx.tokens)) end
  local l, h, n, d = at:size(1), at:size(2), at:size(3), ctx.head_dim
  local rows = (at + 1):to "i32":view(l, h, n, 1):expand(l, h, n, d)
  local cos, sin = ctx:rope(0, total)
  local function picked(x) return x:view(1, 1, total, d):expand(l, h, total, d):gather(3, rows) end
  return M.undo(ctx.keys, picked(cos), picked(sin))
end

--- cos and sin [1, head_dim] of the mean rotation of several positions: apply() turns by R = mean of the rotations
--- (which also shrinks), apply_transposed() by R'.
function M.mean(cos, sin) return cos:mean(1):unsqueeze(1), sin:mean(1):unsqueeze(1) end

--- The mean of the rotation matrices of several positions: R [head_dim, head_dim] with (R x) = mean of the rotated x.
--- cos, sin [positions, head_dim].
function M.mean_matrix(cos, sin)
  local d = cos:size(-1)
  local i, j = tensor.arange(d):view(d, 1), tensor.arange(d):view(1, d)
  local upper = (j - i):eq(d / 2) -- row i < d/2 takes -x[i + d/2]
  local lower = (i - j):eq(d / 2) -- row i >= d/2 takes x[i - d/2]
  return i:eq(j) * cos:mean(1):view(d, 1) + (lower - upper) * sin:mean(1):view(d, 1)
end

return M
