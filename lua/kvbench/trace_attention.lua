-- SPDX-License-Identifier: Apache-2.0
-- What a batch request can record of attention, beside its answer (trace.lua, core/look.h):
--
--   attention = {classes =, within =, from =, rows =}
--     per row, layer and query head: the top-attended context token and the mass on each class of tokens. classes: a
--     class (0 to 7) per context token as an array, or {{token, ...}, ...}: lists of tokens for the classes 0, 1, ...,
--     the rest is the next class. within: list of classes that top_within may name (default: all).
--   weights = {layers =, from =, rows =}
--     whole rows of attention, all heads of these layers (default: all)
--   lost = {keeps =, from =, rows =}
--     for each KeepSet: how much of this row's attention to the context it keeps, and how far each head's output moves
--
-- from and rows: the rows observed, from -1 (the last question row) on; rows: how many (attention: every row that is
-- left, that is every generated token; weights and lost: 1).
local ffi = require "ffi"
local core = require "kvbench.tensor.core"

local M = {}

M.MAX_CLASSES = 8

-- u8 [tokens] and the number of classes.
local function classes_of(given, tokens)
  local out, n = ffi.new("uint8_t[?]", math.max(1, tokens)), 1
  if given == nil then return out, n end
  if type(given[1]) ~= "table" then
    if #given ~= tokens then
      error(("attention: %d classes of tokens, the context has %d tokens"):format(#given, tokens), 0)
    end
    for i, class in ipairs(given) do
      if type(class) ~= "number" or class < 0 or class >= M.MAX_CLASSES or class % 1 ~= 0 then
        error(("attention: token %d has class %s -> 0 to %d"):format(i - 1, tostring(class), M.MAX_CLASSES - 1), 0)
      end
      out[i - 1], n = class, math.max(n, class + 1)
    end
    return out, n
  end
  n = #given + 1
  if n > M.MAX_CLASSES then error(("attention: %d classes, %d are possible"):format(n, M.MAX_CLASSES), 0) end
  ffi.fill(out, tokens, n - 1)
  for class = #given, 1, -1 do -- a token of several classes belongs to the first
    for _, token in ipairs(given[class]) do
      if type(token) ~= "number" or token < 0 or token >= tokens then
        error(("attention: class %d names token %s of %d"):format(class - 1, tostring(token), tokens), 0)
      end
      out[token] = class - 1
    end
  end
  return out, n
end

-- First row and number of rows, as the engine counts them.
local function range(what, given, request, max_new, default_rows)
  local n = #request.ids
  local last = n + math.max(max_new, 1) - 1 -- behind the last row that can run
  local from = given.from or -1
  if from < 0 then from = n + from end
  local rows = given.rows or default_rows or last - from
  if from < 0 or from % 1 ~= 0 or rows < 1 or rows % 1 ~= 0 or from + rows > last then
    error(("%s: rows %s to %s, there are 0 to %d (0 = the first question token)"):format(what, tostring(from),
      tostring(from + rows - 1), last - 1), 0)
  end
  return from, rows
end

--- Fills a kvb_watch; returns what read() needs, or nil. anchors: cdata that must live until the request was added.
function M.fill(watch, model, request, max_new, anchors)
  local tokens, spec = request.ctx.tokens, nil
  watch.n_classes = 1
  local a, w, lost = request.attention, request.weights, request.lost
  if not a and not w and not lost then return nil end
  spec = { tokens = tokens, n = #request.ids, width = tokens + #request.ids + max_new, classes = 1 }
  if a then
    if a == true then a = {} end
    local classes, n = classes_of(a.classes, tokens)
    local mask = 0
    for _, class in ipairs(a.within or {}) do mask = mask + 2 ^ class end
    anchors[#anchors + 1] = classes
    watch.classes, watch.n_classes, watch.within = classes, n, a.within and mask or 2 ^ n - 1
    watch.attention_from, watch.attention_rows = range("attention", a, request, max_new)
    spec.attention, spec.classes = { watch.attention_from, watch.attention_rows }, n
  end
  if w then
    if w == true then w = {} end
    local layers = type(w.layers) == "number" and { w.layers } or w.layers
    if not layers then
      layers = {}
      for l = 1, model.layers do layers[l] = l - 1 end
    end
    local list = ffi.new("int32_t[?]", math.max(1, #layers), layers)
    anchors[#anchors + 1] = list
    watch.weight_layers, watch.n_weight_layers = list, #layers
    watch.weights_from, watch.weights_rows = range("weights", w, request, max_new, 1)
    spec.weights, spec.weight_layers = { watch.weights_from, watch.weights_rows }, layers
  end
  if lost then
    local keeps = ffi.new("kvb_keep *[?]", math.max(1, #lost.keeps))
    for i, keep in ipairs(lost.keeps) do keeps[i - 1] = keep.handle end
    anchors[#anchors + 1] = keeps
    watch.keeps, watch.n_keeps = keeps, #lost.keeps
    watch.keeps_from, watch.keeps_rows = range("lost", lost, request, max_new, 1)
    spec.lost, spec.keeps = { watch.keeps_from, watch.keeps_rows }, #lost.keeps
  end
  return spec
end

-- A tensor of what the engine recorded, without the rows that never ran.
local function take(from, ran, first, rows, shape, dtype)
  local done = math.max(0, math.min(rows, ran - first))
  local t, n = core.new({ done, unpack(shape) }, dtype, "cpu"), done
  for _, size in ipairs(shape) do n = n * size end
  if n > 0 then ffi.copy(t.data, from, 4 * n) end
  return t
end

--- result.observed of a finished request (kvb_result r):
---   top, top_within  i32 [rows, layers, heads]: context token (from 0), -1 = none is visible
---   mass             f32 [rows, layers, heads, classes + 1]: attention by class, its own tokens last; sums to 1
---   weights          f32 [rows, layers given, heads, tokens + own]: own tokens behind the context's
---   recall, error    f32 [rows, keeps, layers, heads]
--- and from, weights_from, lost_from: which own row comes first. Rows that never ran are not there.
function M.read(spec, r, model)
  local out, grid = {}, { model.layers, model.heads }
  if spec.attention then
    local first, rows = spec.attention[1], spec.attention[2]
    out.from = first
    out.top = take(r.top, r.rows, first, rows, grid, "i32")
    out.top_within = take(r.top_within, r.rows, first, rows, grid, "i32")
    out.mass = take(r.mass, r.rows, first, rows, { model.layers, model.heads, spec.classes + 1 }, "f32")
  end
  if spec.weights then
    out.weights_from, out.weight_layers = spec.weights[1], spec.weight_layers
    local shape = { #spec.weight_layers, model.heads, spec.width }
    out.weights = take(r.weights, r.rows, spec.weights[1], spec.weights[2], shape, "f32")
  end
  if spec.lost then
    local first, rows, shape = spec.lost[1], spec.lost[2], { spec.keeps, model.layers, model.heads }
    out.lost_from = first
    out.recall = take(r.recall, r.rows, first, rows, shape, "f32")
    out.error = take(r.error, r.rows, first, rows, shape, "f32")
  end
  return out
end

return M
