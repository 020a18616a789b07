-- SPDX-License-Identifier: Apache-2.0
-- A context without a model: seeded random keys, values and queries behind the interface that presses see. For trying
-- a press out and for tests; the numbers mean nothing.
local tensor = require "kvbench.tensor"

local M = {}

local function rope_tables(theta, d, device)
  local made = {}
  return function(_, first, n)
    local key = first .. ":" .. n
    if made[key] then return made[key][1], made[key][2] end
    local cos, sin = tensor.zeros(n, d, { device = "cpu" }), tensor.zeros(n, d, { device = "cpu" })
    local c, s = cos:pointer(), sin:pointer()
    for p = 0, n - 1 do
      for i = 0, d - 1 do
        local angle = (first + p) * theta ^ (-2 * (i % (d / 2)) / d)
        c[p * d + i], s[p * d + i] = math.cos(angle), math.sin(angle)
      end
    end
    made[key] = { cos:to(device), sin:to(device) }
    return made[key][1], made[key][2]
  end
end

-- Every matrix is [heads * head_dim, heads * head_dim], every norm's weight [heads * head_dim].
local function weight(ctx, slot, layer)
  local n = ctx.heads * ctx.head_dim
  return tensor.on("cpu", tensor.randn, slot:find "norm" and { n } or { n, n },
    ("%s/%s/%d"):format(ctx.seed, slot, layer)):to(ctx.device)
end

-- One id per byte.
local function encode(_, text) return type(text) == "table" and text or { text:byte(1, -1) } end

local function close() end

-- More random tokens behind those of the context.
local function read_on(ctx, ids)
  local more = M.new { layers = ctx.layers, heads = ctx.heads, kv_heads = ctx.kv_heads, tokens = #ids,
    head_dim = ctx.head_dim, seed = ("%s/on/%s"):format(ctx.seed, table.concat(ids, " ")), device = ctx.device }
  local both = setmetatable({ tokens = ctx.tokens + #ids, queries = more.queries }, { __index = ctx })
  for _, name in ipairs { "keys", "values" } do both[name] = tensor.cat({ ctx[name], more[name] }, 3) end
  both.hidden = tensor.cat({ ctx.hidden, more.hidden }, 2)
  return both
end

local function generate() return { ids = { 3, 1, 2 }, text = "" } end
local function part(ctx, from, to)
  local n = to - from
  local out = {}
  for name, value in pairs(ctx) do out[name] = value end
  for _, name in ipairs { "keys", "values", "queries" } do out[name] = ctx[name]:narrow(3, from + 1, n) end
  out.hidden = ctx.hidden:narrow(2, from + 1, n)
  out.tokens, out.token_first, out.parent_tokens = n, (ctx.token_first or 0) + from, ctx.parent_tokens or ctx.tokens
  return out
end

--- options: layers, heads, kv_heads, tokens, head_dim, seed, rope_theta, layer_first, device ("cpu"; the numbers are
--- the CPU's on every device).
function M.new(options)
  local o = options or {}
  local layers, kv_heads, heads = o.layers or 3, o.kv_heads or 2, o.heads or 2 * (o.kv_heads or 2)
  local tokens, d, seed, device = o.tokens or 40, o.head_dim or 8, o.seed or 0, o.device or "cpu"
  local function noise(name, shape) return tensor.on("cpu", tensor.randn, shape, seed .. name):to(device) end
  local ids = {}
  for i = 1, tokens do ids[i] = i end
  local keys = noise("/keys", { layers, kv_heads, tokens, d })
  device = keys.device -- "cuda" is one of them
  return {
    ids = ids, encode = encode, read_on = read_on, generate = generate, close = close,
    layers = layers, layer_first = o.layer_first or 0, kv_heads = kv_heads, heads = heads,
      group_size = heads / kv_heads,
    tokens = tokens, head_dim = d, seed = seed,
    keys = keys, values = noise("/values", { layers, kv_heads, tokens, d }),
    queries = noise("/queries", { layers, heads, tokens, d }), hidden = noise("/hidden",
      { layers + 1, tokens, heads * d }),
    rope = rope_tables(o.rope_theta or 10000, d, device), select = part, weight = weight, device = device,
    variant = require("kvbench.press_pick").variant,
  }
end

return M
