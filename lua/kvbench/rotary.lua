-- SPDX-License-Identifier: Apache-2.0
-- Averages of rotary position embeddings, for rules that do not know the position of the queries to come. Turning
-- keys and
-- queries: t:rope(cos, sin), t:rope_inverse(cos, sin).
local tensor = require "kvbench.tensor"

local M = {}

--- x [..., n, head_dim] rotated by cos, sin [n, head_dim].
function M.apply(x, cos, sin) return x:rope(cos, sin) end

--- What apply() rotated, before it: keys of a cache without their positions.
function M.undo(x, cos, sin) return x:rope_inverse(cos, sin) end

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
