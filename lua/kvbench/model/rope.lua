-- SPDX-License-Identifier: Apache-2.0
-- Rotary embeddings from what model files say: config.json in both layouts, GGUF keys, or GGUF's table of frequency
-- factors. The result has the fields of kvb_model_desc: kind ("default", "linear", "llama3"), theta, factor, low_freq,
-- high_freq, original_positions. Anything else is an error: a wrong position code answers fluently and wrongly.
local M = {}

--- enum kvb_rope_kind
M.kinds = { default = 0, llama3 = 1, linear = 2 }

local function number(t, key, where)
  local v = t[key]
  if type(v) ~= "number" then
    error(("%s: RoPE scaling lacks a number '%s' -> take config.json from the model's publisher"):format(where, key), 0)
  end
  return v
end

local function unsupported(where, kind)
  error(("%s: RoPE scaling '%s' is not supported -> supported are default, linear and llama3"):format(where,
    tostring(kind)), 0)
end

local function partial(where, value)
  if type(value) == "number" and value ~= 1 then
    error(("%s: partial_rotary_factor %g is not supported: RoPE must turn the whole head"):format(where, value), 0)
  end
end

local function from_table(p, theta, where)
  local kind = p.rope_type or p.type
  partial(where, p.partial_rotary_factor)
  if kind == "default" then return { kind = "default", theta = theta } end
  if kind == "linear" then return { kind = kind, theta = theta, factor = number(p, "factor", where) } end
  if kind ~= "llama3" then unsupported(where, kind or "(without a type)") end
  return {
    kind = kind, theta = theta, factor = number(p, "factor", where), low_freq = number(p, "low_freq_factor", where),
    high_freq = number(p, "high_freq_factor", where),
    original_positions = number(p, "original_max_position_embeddings", where),
  }
end

-- Families with sliding layers: {full_attention = ..., sliding_attention = ...}, each as below, or flat with
-- rope_local_base_freq beside it.
local function two_kinds(config, where, family)
  local p = config.rope_parameters
  local full, slides = type(p) == "table" and p.full_attention, type(p) == "table" and p.sliding_attention
  local flat = { rope_theta = config.rope_theta or 1e6, rope_scaling = config.rope_scaling,
    rope_parameters = type(full) == "table" and full or nil }
  local result = M.from_config(flat, where)
  local theta = config.rope_local_base_freq
  if type(slides) == "table" then
    local own = M.from_config({ rope_parameters = slides }, where)
    if own.kind ~= "default" then unsupported(where, own.kind .. "' of sliding layers, '") end
    theta = own.theta
  end
  result.sliding_theta = type(theta) == "number" and theta or family.sliding_theta
  return result
end

--- From config.json: `rope_parameters` (new layout), or rope_theta and rope_scaling (old; key rope_type or type).
--- family: of model/family.lua, or nil; one with `layers` also has sliding_theta in the result.
function M.from_config(config, where, family)
  if family and family.layers then return two_kinds(config, where, family) end
  local theta = type(config.rope_theta) == "number" and config.rope_theta or 10000
  partial(where, config.partial_rotary_factor)
  local p = config.rope_parameters
  if type(p) ~= "table" or next(p) == nil then p = config.rope_scaling end
  if type(p) ~= "table" or next(p) == nil then return { kind = "default", theta = theta } end
  if type(p.rope_theta) == "number" then theta = p.rope_theta end
  if p.rope_type == nil and p.type == nil and next(p) == "rope_theta" and next(p, "rope_theta") == nil then
    return { kind = "default", theta = theta }
  end
  return from_table(p, theta, where)
end

-- llama.cpp's converter: what each frequency was divided by.
local function llama3_factor(frequency, r)
  local wavelength = 2 * math.pi / frequency
  if wavelength < r.original_positions / r.high_freq then return 1 end
  if wavelength > r.original_positions / r.low_freq then return r.factor end
  local smooth = (r.original_positions / wavelength - r.low_freq) / (r.high_freq - r.low_freq)
  return 1 / ((1 - smooth) / r.factor + smooth)
end

local function fits(factors, theta, dim, rule)
  for i, f in ipairs(factors) do
    local expected = llama3_factor(theta ^ (-2 * (i - 1) / dim), rule)
    if not (math.abs(f - expected) <= 1e-3 * expected) then return false end
  end
  return true
end

--- From GGUF's rope_freqs.weight: `factors` [head_dim / 2] divide the frequencies. All equal: linear. Else the llama3
-- rule, whose low and high factors are 1 and 4 in every published model; the original context follows from any factor
-- between the two plateaus, and every entry is then checked against the rule.
function M.from_factors(factors, theta, where)
  local dim, lowest, highest = 2 * #factors, math.huge, -math.huge
  for _, f in ipairs(factors) do lowest, highest = math.min(lowest, f), math.max(highest, f) end
  if lowest == 1 and highest == 1 then return { kind = "default", theta = theta } end
  if lowest == highest and highest >= 1 then return { kind = "linear", theta = theta, factor = highest } end
  local rule = { kind = "llama3", theta = theta, factor = highest, low_freq = 1, high_freq = 4,
    original_positions = 8192 }
  for i, f in ipairs(factors) do
    if f > 1.001 and f < highest * 0.999 then
      local smooth = (1 / f - 1 / highest) / (1 - 1 / highest)
      local wavelength = 2 * math.pi / theta ^ (-2 * (i - 1) / dim)
      local turns = smooth * (rule.high_freq - rule.low_freq) + rule.low_freq
      rule.original_positions = math.floor(wavelength * turns + 0.5)
      if fits(factors, theta, dim, rule) then return rule end
    end
  end
  if fits(factors, theta, dim, rule) then return rule end
  error(("%s: the %d factors of rope_freqs.weight (%g to %g) fit neither linear nor llama3 RoPE scaling -> "
    .. "use the Hugging Face folder of this model"):format(where, #factors, lowest, highest), 0)
end

--- From GGUF metadata keys; `get(key)` reads "<architecture>.<key>".
function M.from_keys(get, theta, where)
  local kind, factor = get "rope.scaling.type", get "rope.scaling.factor" or get "rope.scale_linear"
  if kind == nil and factor ~= nil and factor ~= 1 and factor ~= 0 then kind = "linear" end
  if kind == nil or kind == "none" or kind == "linear" and (factor == 1 or factor == 0) then
    return { kind = "default", theta = theta }
  end
  if kind ~= "linear" then unsupported(where, kind) end
  return { kind = "linear", theta = theta, factor = number({ factor = factor }, "factor", where) }
end

return M
