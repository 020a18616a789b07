-- SPDX-License-Identifier: Apache-2.0
-- Rotary position embedding in the rotate-half layout (RoPE, arXiv:2104.09864): channels i and i + d/2 are a pair.
-- cos and
-- sin are [n, d], as ctx:rope(first, n) gives them for a model's own frequencies.
local core = require "kvbench.tensor.core"
local T = core.methods

--- (x1, x2) -> (-x2, x1) over the halves of the last dimension.
---     tensor.from({ 1, 2, 3, 4 }):rotate_half() --> { -3, -4, 1, 2 }
function T:rotate_half()
  local d = self:size(-1)
  if d % 2 ~= 0 then
    error(("rotate_half: %d channels (shape %s), expected an even number"):format(d, core.show(self)), 0)
  end
  local out = core.output(self, core.sizes(self))
  out:narrow(-1, 1, d / 2):copy_(self:narrow(-1, d / 2 + 1, d / 2)):mul_(-1)
  out:narrow(-1, d / 2 + 1, d / 2):copy_(self:narrow(-1, 1, d / 2))
  return out
end

--- self [.., n, d] turned to the positions of cos and sin [n, d]: queries or keys as they are after RoPE.
function T:rope(cos, sin)
  core.expect("rope", cos)
  local out = self:rotate_half():mul_(core.expect("rope", sin))
  return out:add_(self * cos)
end

--- The reverse: keys as they were before RoPE. Exact to rounding, also where cos and sin carry a factor (YaRN).
---     (tensor.ones(1, 2):rope_inverse(tensor.zeros(1, 2), tensor.ones(1, 2))) --> { { 1, -1 } }
function T:rope_inverse(cos, sin)
  core.expect("rope_inverse", cos)
  core.expect("rope_inverse", sin)
  local length = cos * cos + sin * sin
  return self:rope(cos / length, -sin / length)
end
