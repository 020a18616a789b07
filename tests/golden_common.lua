-- SPDX-License-Identifier: Apache-2.0
-- What the golden runners share: reading stored keep-sets and comparing ours with them.
local ffi = require "ffi"
local keepset = require "kvbench.keep"
local orders = require "kvbench.press_order"
local tensor = require "kvbench.tensor"

local M = {}

--- Names in a folder, sub-folders with a trailing "/".
function M.names_in(dir)
  local out = ffi.new "const char *[1]"
  require("kvbench.ffi").check(require("kvbench.ffi").C.kvb_dir_list(dir, out))
  local names = {}
  for name in ffi.string(out[0]):gmatch "[^\n]+" do names[#names + 1] = name end
  return names
end

--- A copy of the elements of an f32 tensor, which may be on any device, in row-major order.
function M.floats(t)
  local host = t:cpu():contiguous()
  local n = host:numel()
  local copy = ffi.new("float[?]", n)
  ffi.copy(copy, host.data, 4 * n)
  return copy
end

local TIE = 1e-5 -- relative: scores this close may fall either way

--- The KeepSet stored as a 0/1 tensor [layers, kv_heads, tokens] of a weight file.
function M.read_keep(file, name)
  local bits, info = file:integers(name)
  local t = tensor.zeros(info.shape, "u8")
  local bytes = ffi.cast("uint8_t *", t.data)
  for i = 1, #bits do bytes[i - 1] = bits[i] end
  return keepset.from_bits(t)
end

--- An error unless the keep-sets are equal but for swaps of tokens whose scores tie (within TIE relative, or both
--- forced): what ours keeps too many and what it keeps too few must have the same scores. Rules that spend one budget
--- over all heads of a layer may swap between heads, those that spend one over the model between layers.
function M.check_kept(keep, reference, press, ctx, ratio)
  local extra, lacking, first = {}, {}, nil
  local function compare_groups(where)
    if #extra == 0 and #lacking == 0 then return end
    local scored = press.rule.score and press or press.of
    local scores = scored and scored.rule and scored.rule.score and scored:score(ctx, ratio)
    -- as the reference pads them, layer by layer: what a rule forces may tie with its best token (compactor)
    if scores and press.scope ~= "model" then scores = orders.finite(scored, scores) end
    scores = scores and M.floats(scores)
    local function values(list)
      local out = {}
      for i, at in ipairs(list) do out[i] = scores[at] end
      table.sort(out)
      return out
    end
    local tied = scores and #extra == #lacking
    local a, b = tied and values(extra), tied and values(lacking)
    for i = 1, tied and #a or 0 do tied = tied and (a[i] == b[i] or math.abs(a[i] - b[i]) <= TIE * math.abs(b[i])) end
    if not tied then
      error(("%s: %d tokens kept that the reference evicts, %d evicted that it keeps (first: %s)"):format(where, #extra,
        #lacking, first), 0)
    end
    extra, lacking, first = {}, {}, nil
  end
  for l = 0, ctx.layers - 1 do
    for h = 0, ctx.kv_heads - 1 do
      for t = 0, ctx.tokens - 1 do
        local mine, theirs = keep:kept(l, h, t), reference:kept(l, h, t)
        if mine ~= theirs then
          local list = mine and extra or lacking
          list[#list + 1] = (l * ctx.kv_heads + h) * ctx.tokens + t
          first = first or ("KV head %d, token %d"):format(h, t)
        end
      end
      if press.scope == "head" and not press.rule.thresholds then compare_groups(("layer %d, KV head %d"):format(l,
        h)) end
    end
    if press.scope ~= "model" then compare_groups("layer " .. l) end
  end
  compare_groups "the model"
end

return M
