-- SPDX-License-Identifier: Apache-2.0
-- A matrix as text, for the terminal: one cell a character, or two rows in one line of coloured half blocks. Too
-- large a
-- matrix is averaged into as many cells as fit. NaN is red, or a question mark; a row of numbers becomes a line of
-- bars.
local M = {}

local SHADES = { " ", "░", "▒", "▓", "█" }
local BARS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }
local PALETTE = { 53, 54, 61, 60, 25, 31, 30, 37, 36, 35, 41, 77, 113, 149, 184, 226 } -- of 256 colours, dark to bright
local NAN = 196
local HEIGHT, LABEL = 32, 6

local function number(v)
  if math.abs(v) == math.huge then return v < 0 and "-inf" or "inf" end
  return v % 1 == 0 and math.abs(v) < 1e7 and ("%d"):format(v) or ("%.4g"):format(v)
end

-- values[1 .. rows * columns] averaged into height x width cells; returns them and the finite range.
local function binned(values, rows, columns, height, width)
  local cells, low, high = {}, math.huge, -math.huge
  for i = 0, height - 1 do
    local row = {}
    local from, to = math.floor(i * rows / height), math.floor((i + 1) * rows / height) - 1
    for j = 0, width - 1 do
      local first, last, sum = math.floor(j * columns / width), math.floor((j + 1) * columns / width) - 1, 0
      for r = from, to do for c = first, last do sum = sum + values(r, c) end end
      local mean = sum / ((to - from + 1) * (last - first + 1))
      if mean == mean and math.abs(mean) < math.huge then low, high = math.min(low, mean), math.max(high, mean) end
      row[j + 1] = mean
    end
    cells[i + 1] = row
  end
  return cells, low, high
end

-- 1 .. n for a value between low and high; nil for NaN.
local function level(v, low, high, n)
  if v ~= v then return nil end
  local share = high > low and (v - low) / (high - low) or 0.5
  return math.max(1, math.min(n, math.floor(share * n) + 1))
end

local function shaded(row, low, high, letters)
  local parts = {}
  for j, v in ipairs(row) do
    local k = level(v, low, high, #letters)
    parts[j] = k and letters[k] or "?"
  end
  return table.concat(parts)
end

local function coloured(top, bottom, low, high)
  local parts = {}
  for j = 1, #top do
    local a = PALETTE[level(top[j], low, high, #PALETTE)] or NAN
    local b = bottom and (PALETTE[level(bottom[j], low, high, #PALETTE)] or NAN)
    parts[j] = ("\27[38;5;%d%sm▀"):format(a, b and ";48;5;" .. b or ";49")
  end
  return table.concat(parts) .. "\27[0m"
end

--- Text of a matrix. values(row, column) counts from 0. o = {width = columns of text, height = rows of cells (32),
--- colour = true for a terminal, first = the number of the first row and column (0), low =, high = (the range unless
--- told), rows =, columns = what they are called}.
function M.text(values, rows, columns, o)
  if rows == 0 or columns == 0 then return "(empty)" end
  local room = math.max(8, (o.width or 80) - LABEL - 1)
  local height, width = math.min(rows, o.height or HEIGHT), math.min(columns, room)
  local cells, low, high = binned(values, rows, columns, height, width)
  if low > high then low, high = 0, 0 end
  low, high = o.low or low, o.high or high
  local lines, first, step = {}, o.first or 0, o.colour and rows > 1 and 2 or 1
  for i = 1, height, step do
    local label = math.floor((i - 1) * rows / height) + first
    local body
    if rows == 1 then
      body = shaded(cells[1], low, high, BARS)
    elseif o.colour then
      body = coloured(cells[i], cells[i + 1], low, high)
    else
      body = shaded(cells[i], low, high, SHADES)
    end
    lines[#lines + 1] = ("%" .. LABEL - 1 .. "s %s"):format(rows == 1 and "" or label, body)
  end
  local key
  if o.colour and rows > 1 then
    key = {}
    for k = 1, #PALETTE, 3 do key[#key + 1] = ("\27[38;5;%dm█"):format(PALETTE[k]) end
    key = table.concat(key) .. "\27[0m"
  else
    key = table.concat(rows == 1 and BARS or SHADES)
  end
  lines[#lines + 1] = ("%s%s %d .. %d%s · %s %s %s%s"):format((" "):rep(LABEL), o.columns or "column", first,
    first + columns - 1, rows > 1 and (", %s %d .. %d"):format(o.rows or "row", first, first + rows - 1) or "",
    number(low), key, number(high), (width < columns or height < rows) and " · averages" or "")
  return table.concat(lines, "\n")
end

--- What the picture of a value is made of: values(row, column), rows, columns, options; nil for what has no picture.
--- A tensor's leading dimensions are rows one after the other; a keep-set shows the share of KV heads that keep a
--- token,
--- layer by layer.
function M.matrix(x)
  local tensor, keep = package.loaded["kvbench.tensor"], package.loaded["kvbench.keep"]
  if tensor and tensor.is(x) then
    if x.data == nil or x.ndim == 0 or x:numel() == 0 then return nil end
    local flat = x:to("cpu", "f32") -- a copy: contiguous, readable
    local p, columns = flat:pointer(), x:size(-1)
    return function(r, c) return flat and tonumber(p[r * columns + c]) end, x:numel() / columns, columns,
      { first = 1 }
  end
  if keep and keep.is(x) then
    local counts, heads, tokens = x:layer_counts(), x.kv_heads, x.tokens
    return function(r, c) return counts[r * tokens + c] / heads end, x.layers, tokens,
      { first = 0, low = 0, high = 1, rows = "layer", columns = "token" }
  end
end

--- Should the prompt add a picture unasked? For keep-sets, and for tensors of more numbers than print() shows.
function M.worth(x)
  local tensor, keep = package.loaded["kvbench.tensor"], package.loaded["kvbench.keep"]
  if keep and keep.is(x) then return true end
  return tensor and tensor.is(x) and x.data ~= nil and x.ndim > 0 and x:size(-1) > 8 and x:numel() <= 2 ^ 22
end

--- The picture of a tensor or keep-set, or nil. o as in text().
function M.of(x, o)
  local values, rows, columns, own = M.matrix(x)
  if not values then return nil end
  for k, v in pairs(o or {}) do own[k] = v end
  return M.text(values, rows, columns, own)
end

return M
