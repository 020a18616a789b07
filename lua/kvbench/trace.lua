-- SPDX-License-Identifier: Apache-2.0
-- Interventions and records of a continuation: the fields of a batch request that look or reach inside the model.
--
--   temperature = {f_0, f_1, ...}         factor (1 / tau) on each layer's attention logits, for all rows of it;
--                                         a number: the same in every layer
--   patch = {layer =, row =, hidden =}    the residual stream that enters `layer` at `row` is replaced by `hidden`
--                                         (tensor or array of hidden_size numbers); or a list of such
--   hidden = {layers =, rows =}           record it at these layers and rows
--
-- Layers count from 0; the model's number of layers stands for what enters the final norm. Rows are the request's own:
-- 0 is its first question token, -1 its last (the default), "answer" the first generated one's; "question" all of the
-- question's. What is recorded of attention: trace_attention.lua.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
local attention = require "kvbench.trace_attention"

local M = {}

local function whole(what, value, low, high)
  if type(value) == "number" and value % 1 == 0 and value >= low and value <= high then return value end
  error(("%s is %s, expected %d to %d"):format(what, tostring(value), low, high), 0)
end

-- A row as the engine counts it.
local function row_of(what, row, n, max_new)
  if row == "answer" then row = n end
  row = whole(what .. ": row", row == nil and -1 or row, -n, n + max_new - 1)
  return row < 0 and n + row or row
end

local function list_of(value, default)
  if value == nil then return default end
  return type(value) == "table" and value or { value }
end

local function all_levels(layers)
  local list = {}
  for l = 0, layers do list[l + 1] = l end
  return list
end

local function int_array(list) return ffi.new("int32_t[?]", math.max(#list, 1), list) end

--- The numbers of a tensor or an array as float[n]; n is checked.
local function floats(what, x, n)
  if core.is(x) then
    local host = x:cpu():to("f32"):contiguous()
    local count = 1
    for d = 1, host:dim() do count = count * host:size(d) end
    if count ~= n then error(("%s has %d numbers, the model's hidden size is %d"):format(what, count, n), 0) end
    local out = ffi.new("float[?]", n)
    ffi.copy(out, host.data, 4 * n)
    return out
  end
  if type(x) ~= "table" or #x ~= n then
    error(("%s is %s, expected %d numbers or a tensor of them"):format(what,
      type(x) == "table" and #x .. " numbers" or "a " .. type(x), n), 0)
  end
  return ffi.new("float[?]", n, x)
end

local function temperature(r, model, given)
  local list = {}
  for l = 1, model.layers do list[l] = type(given) == "table" and given[l] or given end
  if type(given) == "table" and #given ~= model.layers then
    error(("temperature has %d factors, the model has %d layers"):format(#given, model.layers), 0)
  end
  for l, factor in ipairs(list) do
    if type(factor) ~= "number" then error(("temperature: factor %d is a %s"):format(l, type(factor)), 0) end
  end
  r.temperature = ffi.new("float[?]", model.layers, list)
  return r.temperature
end

local function patches(r, model, given, anchors, n, max_new)
  local list = given.hidden and { given } or given
  local out = ffi.new("kvb_patch[?]", math.max(#list, 1))
  for i, p in ipairs(list) do
    local hidden = floats("patch: hidden", p.hidden, model.hidden)
    anchors[#anchors + 1] = hidden
    out[i - 1].layer = whole("patch: layer", p.layer, 0, model.layers)
    out[i - 1].row, out[i - 1].hidden = row_of("patch", p.row, n, max_new), hidden
  end
  anchors[#anchors + 1] = out
  r.patches, r.n_patches = out, #list
end

local function hidden(watch, model, given, anchors, n, max_new)
  local spec = { layers = list_of(given.layers, all_levels(model.layers)), rows = {} }
  for _, row in ipairs(list_of(given.rows, { -1 })) do
    for each = row == "question" and 0 or 1, row == "question" and n - 1 or 1 do
      spec.rows[#spec.rows + 1] = row_of("hidden", row == "question" and each or row, n, max_new)
    end
  end
  for _, l in ipairs(spec.layers) do whole("hidden: layer", l, 0, model.layers) end
  local layers, rows = int_array(spec.layers), int_array(spec.rows)
  anchors[#anchors + 1], anchors[#anchors + 2] = layers, rows
  watch.hidden_layers, watch.n_hidden_layers = layers, #spec.layers
  watch.hidden_rows, watch.n_hidden_rows = rows, #spec.rows
  return spec
end

--- Fills the kvb_request `r`. Returns what the result needs to be read (nil: nothing is recorded) and cdata that must
--- live until the request has been added.
function M.fill(r, model, request)
  local anchors, n, max_new = {}, #request.ids, r.max_new
  r.temperature, r.patches, r.n_patches, r.watch = nil, nil, 0, nil
  if request.temperature then anchors[1] = temperature(r, model, request.temperature) end
  if request.patch then patches(r, model, request.patch, anchors, n, max_new) end
  if not (request.hidden or request.attention or request.weights or request.lost) then return nil, anchors end
  local watch, spec = ffi.new "kvb_watch", {}
  if request.hidden then spec.hidden = hidden(watch, model, request.hidden, anchors, n, max_new) end
  spec.attention = attention.fill(watch, model, request, max_new, anchors)
  r.watch = watch
  anchors[#anchors + 1] = watch
  return spec, anchors
end

--- Adds to `out` what a finished request recorded: hidden, a tensor [layers, rows, hidden] in the order that was
--- asked for (0 where a row never ran), with hidden_layers and hidden_rows as counted by the engine; observed, see
--- trace_attention.lua.
function M.read(out, spec, r, model)
  if spec and spec.attention then out.observed = attention.read(spec.attention, r, model) end
  if not spec or not spec.hidden then return end
  local layers, rows = spec.hidden.layers, spec.hidden.rows
  out.hidden = core.new({ #layers, #rows, model.hidden }, "f32", "cpu")
  out.hidden_layers, out.hidden_rows = layers, rows
  if r.hidden ~= nil then ffi.copy(out.hidden.data, r.hidden, 4 * #layers * #rows * model.hidden) end
end

return M
