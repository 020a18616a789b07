-- SPDX-License-Identifier: Apache-2.0
-- KVzap: a small trained model per layer predicts KVzip's scores (their logarithm) from the layer's input.
local artefact = require "kvbench.artefact"
local inputs = require "kvbench.layer_input"
local layer_part = require "kvbench.layer_part"
local tensor = require "kvbench.tensor"

local function gelu(x) return x * ((x / math.sqrt(2)):erf() + 1) / 2 end

-- x W' + b of tensors named `prefix` in the loaded file.
local function linear(x, part, prefix)
  return x:matmul(part[prefix .. "weight"]:transpose()) + part[prefix .. "bias"]
end

local function is_mlp(self, path)
  local file = artefact.open(self, path)
  local two = file:info "layers.0.2.weight" ~= nil
  file:close()
  return two
end

return {
  name = "kvzap",
  paper = "arXiv:2601.07891",
  doc = "Keeps what a trained surrogate of KVzip predicts from the hidden states.",
  formula = "W2 gelu(W1 h_j + b1) + b2, or W h_j + b, h_j the layer's normalised input",
  params = {
    model_type = { default = "mlp", doc = "mlp or linear: which published surrogate" },
    path = { kind = "string", optional = true, doc = "the surrogate's model.safetensors, or its folder" },
  },
  needs = { hidden = true },
  check = function(self)
    if self.model_type ~= "mlp" and self.model_type ~= "linear" then
      error(("press 'kvzap': model_type = '%s' -> mlp or linear"):format(self.model_type), 0)
    end
  end,
  score = function(self, ctx)
    local path = artefact.find(self, ctx, { file = "model.safetensors", what = "the trained surrogate",
      how = ("published ones: nvidia/KVzap-%s-MODEL on Hugging Face"):format(self.model_type) })
    local mlp = ctx:once("kvzap kind", function() return is_mlp(self, path) end)
    local rows = {}
    for l = 1, ctx.layers do
      local prefix = ("layers.%d."):format(layer_part.number(ctx, ctx.layer_first + l - 1))
      local hidden = ctx.hidden:size(3)
      local h = inputs.of(ctx, ctx.layer_first + l)
      local wanted = mlp and { [prefix .. "0.weight"] = { -1, hidden }, [prefix .. "0.bias"] = { -1 },
        [prefix .. "2.weight"] = { ctx.kv_heads, -1 }, [prefix .. "2.bias"] = { ctx.kv_heads } }
        or { [prefix .. "weight"] = { ctx.kv_heads, hidden }, [prefix .. "bias"] = { ctx.kv_heads } }
      local part = artefact.tensors(self, path, wanted)
      local out = mlp and linear(gelu(linear(h, part, prefix .. "0.")), part, prefix .. "2.") or linear(h, part, prefix)
      rows[l] = out:transpose()
    end
    return tensor.stack(rows)
  end,
}
