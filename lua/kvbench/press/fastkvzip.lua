-- SPDX-License-Identifier: Apache-2.0
-- Fast KVzip: a trained gate per layer guesses KVzip's scores from the layer's input. Published as .pt files; scripts/
-- convert_fastkvzip.py makes a safetensors file of one, since a .pt is a Python program that one should not have to
-- trust. The reference forces every token when a context is so short that its window rounds to 0; here it then forces
-- none.
local artefact = require "kvbench.artefact"
local global = require "kvbench.press_global"
local inputs = require "kvbench.layer_input"
local tensor = require "kvbench.tensor"

local LONG = 32000 -- tokens from which the window is a number, not a share

-- x over the root of its mean square, times weight: RMSNorm of the gates' low-dimensional queries and keys.
local function normed(x, weight) return x / ((x * x):mean(-1) + 1e-6):sqrt():unsqueeze(-1) * weight end

local function gate_of(self, path, ctx, layer, hidden)
  local prefix, heads, group = ("layers.%d."):format(layer), ctx.kv_heads, ctx.group_size
  local out = {}
  local found = artefact.tensors(self, path, { [prefix .. "q_norm.weight"] = { -1 } })
  local dim = found[prefix .. "q_norm.weight"]:size(1)
  local shapes = {
    ["q_proj.weight"] = { heads * group * dim, hidden }, ["q_proj.bias"] = { heads * group * dim },
    ["k_proj.weight"] = { heads * dim, hidden }, ["q_norm.weight"] = { dim }, ["k_norm.weight"] = { dim },
    k_base = { heads, 1, -1, dim }, b = { heads, 1, group },
  }
  local wanted = {}
  for name, shape in pairs(shapes) do wanted[prefix .. name] = shape end
  for name, value in pairs(artefact.tensors(self, path, wanted)) do out[name:sub(#prefix + 1)] = value end
  return out, dim
end

-- [kv_heads, tokens] of one layer: the mean over the group of 1 / (1 + sum over the gate's sinks s of e^(k_s q - k_j q
-- - b)).
local function gated(x, g, heads, group, dim)
  local n = x:size(1)
  local queries = normed((x:matmul(g["q_proj.weight"]:transpose()) + g["q_proj.bias"]):view(n, heads, group, dim),
    g["q_norm.weight"]):permute(2, 1, 3, 4) -- [heads, n, group, dim]
  local keys = normed(x:matmul(g["k_proj.weight"]:transpose()):view(n, heads, 1, dim),
    g["k_norm.weight"]):permute(2, 1, 3, 4)
  local logit = queries:vecdot(keys) / math.sqrt(dim) + g.b -- [heads, n, group]
  local base = queries:matmul(g.k_base:transpose()) / math.sqrt(dim) -- [heads, n, group, sinks]
  return ((base - logit:unsqueeze(4)):exp():sum(-1) + 1):reciprocal():mean(-1)
end

return {
  name = "fastkvzip",
  paper = "arXiv:2601.17668",
  doc = "Keeps what trained gates predict that KVzip would keep.",
  formula = "mean over the group of 1 / (1 + sum over s of exp(k_s q_j - k_j q_j - b)), small q, k of the input",
  params = {
    layerwise = global.layerwise,
    n_sink = { default = 4, min = 0, integer = true, doc = "first tokens that always stay" },
    window_size = { default = 4096, min = 0, integer = true, doc = "recent tokens that stay, from 32,000 tokens on" },
    window_ratio = { default = 0.02, min = 0, max = 1, doc = "the same as a share of shorter contexts" },
    path = { kind = "string", optional = true, doc = "the gates as gates.safetensors, or their folder" },
  },
  needs = { hidden = true },
  scope = global.scope,
  budget = "approx",
  thresholds = global.thresholds,
  score = function(self, ctx)
    local path = artefact.find(self, ctx, { file = "gates.safetensors", what = "trained gates",
      how = "published ones: Jang-Hyun/Fast-KVzip on Hugging Face, then "
        .. "python3 scripts/convert_fastkvzip.py GATES.pt gates.safetensors" })
    local n, rows, whole = ctx.tokens, {}, ctx.parent_tokens or ctx.tokens
    for l = 1, ctx.layers do
      rows[l] = tensor.scope(function()
        local g, dim = gate_of(self, path, ctx, ctx.layer_first + l - 1, ctx.hidden:size(3))
        return gated(inputs.of(ctx, ctx.layer_first + l), g, ctx.kv_heads, ctx.group_size, dim)
      end)
    end
    local window = whole < LONG and math.floor(whole * self.window_ratio) or self.window_size
    local position = tensor.arange(n)
    return tensor.where(position:lt(self.n_sink) + position:ge(n - window), math.huge, tensor.stack(rows))
  end,
}
