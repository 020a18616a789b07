-- SPDX-License-Identifier: Apache-2.0
-- Head patterns: how much of a retrieval head each KV head is, as DuoAttention publishes it.
local artefact = require "kvbench.artefact"
local json = require "kvbench.json"
local tensor = require "kvbench.tensor"

local M = {}

-- sink_size and recent_size of a config.json, where there is one.
local function read_sizes(self, path)
  local file = io.open(path, "rb")
  if not file then return {} end
  local ok, sizes = pcall(json.decode, file:read "*a")
  file:close()
  if not ok or type(sizes) ~= "table" then
    error(("press '%s': '%s' is no JSON object: %s"):format(self.name, path, tostring(sizes)), 0)
  end
  for _, name in ipairs { "sink_size", "recent_size" } do
    local value = sizes[name]
    if value ~= nil and not (type(value) == "number" and value >= 0 and value % 1 == 0) then
      error(("press '%s': '%s': %s = %s, expected a whole number"):format(self.name, path, name, tostring(value)), 0)
    end
  end
  return sizes
end

--- For duo_attention (the press `self`): {scores = [layers, kv_heads], sink_size, recent_size} in the layout of the
--- paper's repository: full_attention_heads.tsv, a line a layer, and config.json beside it.
function M.read(self, ctx)
  local path = artefact.find(self, ctx, { file = "full_attention_heads.tsv", what = "a head pattern",
    how = "kvbench scripts/calibrate.lua --model MODEL makes one; published ones: attn_patterns of "
      .. "mit-han-lab/duo-attention" })
  local rows = {}
  for line in io.lines(path) do
    local row = {}
    for word in line:gmatch "[^%s]+" do
      local number = tonumber(word)
      if not number or number ~= number then
        error(("press '%s': '%s': '%s' is not a number"):format(self.name, path, word), 0)
      end
      row[#row + 1] = number
    end
    if #row > 0 then rows[#rows + 1] = row end
    if #row > 0 and #row ~= #rows[1] then rows[1] = row end -- told below
  end
  local layers = ctx.model and ctx.model.layers or #rows
  if #rows ~= layers or #rows == 0 or #rows[1] ~= ctx.kv_heads then
    error(("press '%s': '%s' has %d layers of %d heads, the model %d of %d -> take the file of this model"):format(
      self.name, path, #rows, rows[1] and #rows[1] or 0, layers, ctx.kv_heads), 0)
  end
  local sizes = read_sizes(self, (path:match "^(.*)/" or ".") .. "/config.json")
  return { scores = tensor.from(rows):clamp(0, 1), sink_size = sizes.sink_size, recent_size = sizes.recent_size }
end

return M
