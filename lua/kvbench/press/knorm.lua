-- SPDX-License-Identifier: Apache-2.0
return {
  name = "knorm",
  paper = "arXiv:2406.11430",
  doc = "Keeps the keys of smallest L2 norm.",
  formula = "-|k_j|",
  score = function(self, ctx) return -ctx.keys:norm(-1) end,
}
