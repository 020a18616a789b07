-- SPDX-License-Identifier: Apache-2.0
-- Fast KVzip: a trained gate per layer guesses KVzip's scores from the layer's input. Published as .pt files, which
-- torch_file.lua reads without running them. The reference forces every token when a context is so short that its
-- window rounds to 0; here it then forces none.
local artefact = require "kvbench.artefact"
local global = require "kvbench.press_global"
local inputs = require "kvbench.layer_input"
local tensor = require "kvbench.tensor"
local torch_file = require "kvbench.torch_file"

local LONG = 32000 -- tokens from which the window is a number, not a share

-- x over the root of its mean square, times weight: RMSNorm of the gates' low-dimensional queries and keys.
local function normed(x, weight) return x / ((x * x):mean(-1) + 1e-6):sqrt():unsqueeze(-1) * weight end

-- The tensors of one layer's gate by name, f32, and the width of its queries and keys.
local function gate_of(self, file, path, ctx, layer, hidden)
  local function fail(...) error(("press '%s': '%s': "):format(self.name, path) .. string.format(...), 0) end
  local list = type(file.data) == "table" and file.data.module
  local gates = type(list) == "table" and list[layer + 1]
  if not gates then fail("it has no gates for layer %d -> take the file of this model", layer) end
  local norm = gates["q_norm.weight"]
  local heads, group, dim = ctx.kv_heads, ctx.group_size, norm and norm.tensor and norm.shape[1] or -1
  local shapes = {
    ["q_proj.weight"] = { heads * group * dim, hidden }, ["q_proj.bias"] = { heads * group * dim },
    ["k_proj.weight"] = { heads * dim, hidden }, ["q_norm.weight"] = { dim }, ["k_norm.weight"] = { dim },
    k_base = { heads, 1, -1, dim }, b = { heads, 1, group },
  }
  local out = {}
  for _, name in ipairs { "q_norm.weight", "k_norm.weight", "q_proj.weight", "q_proj.bias", "k_proj.weight", "k_base",
    "b" } do
    local x, shape = gates[name], shapes[name]
    if not (x and x.tensor) then fail("layer %d has no '%s' -> expected gates of Fast KVzip", layer, name) end
    local fits = #x.shape == #shape
    for i = 1, #shape do fits = fits and (shape[i] == -1 or shape[i] == x.shape[i]) end
    if not fits then
      fail("layer %d has %s of shape %s, this model needs %s -> take the file of this model", layer, name,
        tensor.show(x.shape), tensor.show(shape))
    end
    out[name] = file:tensor(x):to(tensor.current())
  end
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
    path = { kind = "string", optional = true, doc = "the published .pt, or its folder" },
  },
  needs = { hidden = true },
  scope = global.scope,
  budget = "approx",
  thresholds = global.thresholds,
  score = function(self, ctx)
    local path = artefact.find(self, ctx, { file = ("q%d_dim16_sink16.pt"):format(ctx.group_size),
      what = "trained gates",
      how = "published ones: Jang-Hyun/Fast-KVzip on Hugging Face" })
    local file = torch_file.open(path, ("press '%s': "):format(self.name))
    local n, rows, whole = ctx.tokens, {}, ctx.parent_tokens or ctx.tokens
    for l = 1, ctx.layers do
      rows[l] = tensor.scope(function()
        local g, dim = gate_of(self, file, path, ctx, ctx.layer_first + l - 1, ctx.hidden:size(3))
        return gated(inputs.of(ctx, ctx.layer_first + l), g, ctx.kv_heads, ctx.group_size, dim)
      end)
    end
    file:close()
    local window = whole < LONG and math.max(1, math.floor(whole * self.window_ratio)) or self.window_size
    local position = tensor.arange(n)
    return tensor.where(position:lt(self.n_sink) + position:ge(n - window), math.huge, tensor.stack(rows))
  end,
}
