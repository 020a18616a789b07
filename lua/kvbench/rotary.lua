-- SPDX-License-Identifier: Apache-2.0
-- Rotary position embedding on tensors, in the rotate-half layout (RoPE, arXiv:2104.09864; channels i and i + d/2 are
-- a pair).
local tensor = require "kvbench.tensor"

local M = {}

--- (x1, x2) -> (-x2, x1) over the halves of the last dimension.
function M.rotate_half(x)
  local half = x:size(-1) / 2
  return tensor.cat({ -x:narrow(-1, half + 1, half), x:narrow(-1, 1, half) }, -1)
end

--- x [..., n, head_dim] rotated by cos, sin [n, head_dim].
function M.apply(x, cos, sin) return x * cos + M.rotate_half(x) * sin end

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
