-- SPDX-License-Identifier: Apache-2.0
-- A few embeddings read behind a context through LoRA-adapted weights: one forward pass in tensor operations, layer by
-- layer, since the engine's matrices are packed and do not change for one pass. What RestoreKV needs: eight tokens.
-- Adapters are PEFT's (adapter_config.json, adapter_model.safetensors); what of PEFT is not here (DoRA, other ranks for
-- some layers, biases, trained modules) is refused. Source: LoRA, arXiv:2106.09685: W x + (alpha / r) B A x.
local ffi = require "ffi"
local artefact = require "kvbench.artefact"
local core = require "kvbench.tensor.core"
local json = require "kvbench.json"
local tensor = require "kvbench.tensor"

local M = {}
local Adapter = {}
Adapter.__index = Adapter

local SLOTS = { q_proj = "q", k_proj = "k", v_proj = "v", o_proj = "o", gate_proj = "gate", up_proj = "up",
  down_proj = "down" }

-- Is a setting of PEFT something other than its default?
local function set(value) return not (value == nil or value == false or value == json.null or value == "none"
  or type(value) == "table" and next(value) == nil) end

local function read_config(press, path)
  local function fail(...) error(("press '%s': '%s': "):format(press.name, path) .. string.format(...), 0) end
  local file, why = io.open(path, "rb")
  if not file then fail("%s -> the adapter's configuration lies beside its weights", why:match ": (.*)" or why) end
  local ok, config = pcall(json.decode, file:read "*a")
  file:close()
  if not ok or type(config) ~= "table" then fail("this is no JSON object") end
  if config.peft_type ~= "LORA" then fail("peft_type is %s, expected LORA", tostring(config.peft_type)) end
  for _, name in ipairs { "r", "lora_alpha" } do
    if type(config[name]) ~= "number" or config[name] <= 0 then fail("%s is %s, expected a number", name,
      tostring(config[name])) end
  end
  for _, name in ipairs { "use_dora", "rank_pattern", "alpha_pattern", "bias", "modules_to_save", "fan_in_fan_out" } do
    if set(config[name]) then fail("'%s' is set, which is not supported here", name) end
  end
  return config
end

--- The adapter in a folder, for a press: named weights by layer and slot, and their scale.
function M.open(press, folder)
  local config = read_config(press, folder .. "/adapter_config.json")
  local path = folder .. "/adapter_model.safetensors"
  local file = artefact.open(press, path)
  local names = {}
  for _, name in ipairs(file:names()) do
    local layer, module, side = name:match "layers%.(%d+)%.[%w_]+%.([%w_]+)%.lora_([AB])%.?[%w_]*%.?weight$"
    if not SLOTS[module] then
      file:close()
      error(("press '%s': '%s' has a tensor '%s' that is not of a LoRA on a decoder's projections"):format(press.name,
        path, name), 0)
    end
    names[("%s/%d/%s"):format(SLOTS[module], layer, side)] = name
  end
  local scale = config.lora_alpha / (config.use_rslora == true and math.sqrt(config.r) or config.r)
  return setmetatable({ file = file, path = path, names = names, scale = scale, rank = config.r, press = press },
    Adapter)
end

function Adapter:close() self.file:close() end

function Adapter:matrix(key, rows, columns)
  local values, info = self.file:floats(self.names[key])
  if #info.shape ~= 2 or info.shape[1] ~= rows or info.shape[2] ~= columns then
    error(("press '%s': '%s' has %s of shape %s, this model needs %s -> take the adapter of this model"):format(
      self.press.name, self.path, self.names[key], tensor.show(info.shape), tensor.show { rows, columns }), 0)
  end
  local out = core.new(info.shape, "f32", "cpu", true)
  ffi.copy(out.data, values, 4 * info.elements)
  return out:to(tensor.current())
end

--- x [n, in] through weight `slot` of a layer (from 0) of the context's model, adapted where the adapter adapts it.
function Adapter:linear(ctx, slot, layer, x)
  local weight = ctx:weight(slot, layer)
  local y, key = x:matmul(weight:transpose()), ("%s/%d/"):format(slot, layer)
  if not self.names[key .. "A"] then return y end
  local a = self:matrix(key .. "A", self.rank, weight:size(2))
  local b = self:matrix(key .. "B", weight:size(1), self.rank)
  return y + x:matmul(a:transpose()):matmul(b:transpose()) * self.scale
end

local function normed(x, weight, eps) return x / ((x * x):mean(-1) + eps):sqrt():unsqueeze(-1) * weight end

-- A weight that only some families have.
local function optional(ctx, slot, layer)
  local ok, weight = pcall(ctx.weight, ctx, slot, layer)
  return ok and weight or nil
end

-- Queries or keys [heads, n, d] of one layer.
local function heads_of(adapter, ctx, slot, layer, x, heads)
  local y, bias = adapter:linear(ctx, slot, layer, x), optional(ctx, slot .. "_bias", layer)
  if bias then y = y + bias end
  y = y:view(x:size(1), heads, ctx.head_dim)
  local norm = optional(ctx, slot .. "_norm", layer)
  if norm then y = normed(y, norm, ctx.model.norm_eps) end
  return y:permute(2, 1, 3):contiguous()
end

-- What attention adds to x, and the keys and values of the new tokens: [kv_heads, n, d] each.
local function attend(adapter, ctx, layer, x)
  local n, d, group = x:size(1), ctx.head_dim, ctx.heads / ctx.kv_heads
  local cos, sin = ctx:rope(ctx.tokens, n)
  local h = normed(x, ctx:weight("attn_norm", layer), ctx.model.norm_eps)
  local q = heads_of(adapter, ctx, "q", layer, h, ctx.heads):rope(cos, sin)
  local k = heads_of(adapter, ctx, "k", layer, h, ctx.kv_heads):rope(cos, sin)
  local v = heads_of(adapter, ctx, "v", layer, h, ctx.kv_heads)
  local keys, values = tensor.cat({ ctx.keys[layer + 1], k }, 2), tensor.cat({ ctx.values[layer + 1], v }, 2)
  local logits = q:view(ctx.kv_heads, group * n, d):matmul(keys:transpose()):view(ctx.kv_heads, group, n, ctx.tokens
    + n)
  local weights = (logits / math.sqrt(d) + tensor.causal_mask(n, ctx.tokens + n)):softmax(-1)
  local seen = weights:view(ctx.kv_heads, group * n, ctx.tokens + n):matmul(values):view(ctx.heads, n, d)
  return adapter:linear(ctx, "o", layer, seen:permute(2, 1, 3):reshape(n, ctx.heads * d)), k, v
end

local function silu(x) return x * x:sigmoid() end

--- Reads embeddings x [n, hidden] behind a context, at the positions that follow it: keys and values [layers, kv_heads,
--- n, head_dim] that they leave, keys after RoPE.
function Adapter:read(ctx, x)
  local keys, values = {}, {}
  for layer = 0, ctx.layers - 1 do
    x, keys[layer + 1], values[layer + 1] = tensor.scope(function()
      local seen, k, v = attend(self, ctx, layer, x)
      local y = x + seen
      local h = normed(y, ctx:weight("ffn_norm", layer), ctx.model.norm_eps)
      local inner = silu(self:linear(ctx, "gate", layer, h)) * self:linear(ctx, "up", layer, h)
      return y + self:linear(ctx, "down", layer, inner), k, v
    end)
  end
  return tensor.stack(keys), tensor.stack(values)
end

return M
