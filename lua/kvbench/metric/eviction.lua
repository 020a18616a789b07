-- SPDX-License-Identifier: Apache-2.0
-- What a keep-set did to a set of tokens: global eviction, its null, and the agreement of two keep-sets.
--
-- A token set is an array of 0-based positions. A cell is one (layer, KV head); M is the set of cells that count,
-- all by default. A keep-set is read through its contract only (layers, kv_heads, tokens, layer_counts, span_cells,
-- kept), so a small Lua table can stand in for it. One view per keep-set serves every question of the passage.
-- Source of the global eviction ratio: arXiv:2603.01426, section 5.1, with H read as all cells of the model
-- (`ger_model`).
local ffi = require "ffi"

local M = {}

--- Reads a keep-set once. opt.cells = function(l, h) -> boolean (0-based) restricts M; of a model with sliding windows M
--- is the layers that a press compressed (keep.compressed) unless told.
--- Returns {keep, tokens, cells = |M|, layers = {{l =, heads = {h...}, all =}}, total[t], count[i * tokens + t]},
--- where total and count (i = 0-based index in layers) are numbers of cells that keep t. Borrows the keep-set.
function M.view(keep, opt)
  local wanted = opt and opt.cells
  if not wanted and keep.compressed then
    local counts = {}
    for _, l in ipairs(keep.compressed) do counts[l - 1] = true end
    wanted = function(l) return counts[l] or false end
  end
  local T, layers, cells = keep.tokens, {}, 0
  for l = 0, keep.layers - 1 do
    local heads = {}
    for h = 0, keep.kv_heads - 1 do
      if not wanted or wanted(l, h) then heads[#heads + 1] = h end
    end
    if #heads > 0 then layers[#layers + 1] = { l = l, heads = heads, all = #heads == keep.kv_heads } end
    cells = cells + #heads
  end
  if cells == 0 then
    error("eviction.view: no (layer, head) cell is left -> the cells filter refuses all of them", 0)
  end
  local total, count = ffi.new("int32_t[?]", T), ffi.new("int32_t[?]", #layers * T)
  if type(keep:kept(0, 0, 0)) ~= "boolean" then
    error("eviction.view: keep:kept(l, h, t) must answer true or false (0 is true in Lua)", 0)
  end
  local given = keep:layer_counts()
  for i, layer in ipairs(layers) do
    local row, from = (i - 1) * T, layer.l * T
    for t = 0, T - 1 do
      local c = 0
      if layer.all then
        c = tonumber(given[from + t])
      else
        for _, h in ipairs(layer.heads) do if keep:kept(layer.l, h, t) then c = c + 1 end end
      end
      count[row + t] = c
      total[t] = total[t] + c
    end
  end
  return { keep = keep, tokens = T, cells = cells, layers = layers, total = total, count = count }
end

local function check(view, tokens)
  for _, t in ipairs(tokens) do
    if t < 0 or t >= view.tokens then
      error(string.format("eviction: token position %d is outside the keep-set's %d tokens -> positions are 0-based "
        .. "and count from the start of the context, not of the passage", t, view.tokens), 0)
    end
  end
end

--- Eviction of a token set, or nil when the set is nil or empty (the ratio is undefined, not 0):
---   model   share of tokens that no cell of M keeps (GER as the paper reads)
---   layer   the same within each layer, averaged over layers
---   frac    share of (token, cell) pairs dropped
---   all, any  1 when every / at least one token is gone from all of M, else 0 (the events E_all, E_any)
---   n       tokens in the set
function M.ger(view, tokens)
  if not tokens or #tokens == 0 then return nil end
  check(view, tokens)
  local n, gone, kept, layer_gone = #tokens, 0, 0, 0
  for _, t in ipairs(tokens) do
    local c = view.total[t]
    if c == 0 then gone = gone + 1 end
    kept = kept + c
    for i = 0, #view.layers - 1 do
      if view.count[i * view.tokens + t] == 0 then layer_gone = layer_gone + 1 end
    end
  end
  return {
    model = gone / n, layer = layer_gone / (n * #view.layers), frac = 1 - kept / (n * view.cells),
    all = gone == n and 1 or 0, any = gone > 0 and 1 or 0, n = n,
  }
end

--- The three ratios alone; nil for an empty set. Over X without sinks, ger_model is the paper's EvictionRate.
function M.ger_model(view, tokens) local g = M.ger(view, tokens) return g and g.model end
function M.ger_layer(view, tokens) local g = M.ger(view, tokens) return g and g.layer end
function M.ger_frac(view, tokens) local g = M.ger(view, tokens) return g and g.frac end

--- ger_model within each layer of M: array of {layer = 0-based, ger =}.
function M.ger_by_layer(view, tokens)
  if not tokens or #tokens == 0 then return nil end
  check(view, tokens)
  local out = {}
  for i, layer in ipairs(view.layers) do
    local gone = 0
    for _, t in ipairs(tokens) do
      if view.count[(i - 1) * view.tokens + t] == 0 then gone = gone + 1 end
    end
    out[i] = { layer = layer.l, ger = gone / #tokens }
  end
  return out
end

local function whole_span_cells(view, from, to)
  local every = true
  for _, layer in ipairs(view.layers) do every = every and layer.all end
  if every and #view.layers == view.keep.layers then return tonumber(view.keep:span_cells(from, to)) end
  local cells = 0
  for _, layer in ipairs(view.layers) do
    for _, h in ipairs(layer.heads) do
      local t = from
      while t < to and view.keep:kept(layer.l, h, t) do t = t + 1 end
      if t == to then cells = cells + 1 end
    end
  end
  return cells
end

--- Span co-survival: the largest share of cells that keep a whole mention, over mentions = array of {from, to} token
--- ranges. Tokens may all survive somewhere while no head holds the answer together; this sees it. nil without
--- mentions.
function M.span_survival(view, mentions)
  local top
  for _, m in ipairs(mentions or {}) do
    local from, to = m[1], m[2]
    if from < 0 or to > view.tokens or from >= to then
      error(string.format("eviction: mention [%d, %d) is not inside the keep-set's %d tokens", from, to, view.tokens),
        0)
    end
    local share = whole_span_cells(view, from, to) / view.cells
    if not top or share > top then top = share end
  end
  return top
end

--- Effective ratio alpha_X = 1 - mean over cells of |kept in x| / |x|, for x = X without sinks.
function M.effective_ratio(view, x) return M.ger_frac(view, x) end

--- What global eviction would be if heads chose independently, each keeping its own share p_h of x (x = X without
--- sinks): model = prod_h (1 - p_h), layer = mean over layers of that product within the layer, evicted_share =
--- mean_h (1 - p_h).
function M.independent_null(view, x)
  if not x or #x == 0 then return nil end
  check(view, x)
  local model, layer_sum, share = 1, 0, 0
  for _, layer in ipairs(view.layers) do
    local product = 1
    for _, h in ipairs(layer.heads) do
      local kept = 0
      for _, t in ipairs(x) do if view.keep:kept(layer.l, h, t) then kept = kept + 1 end end
      local evicted = 1 - kept / #x
      product = product * evicted
      share = share + evicted
    end
    model = model * product
    layer_sum = layer_sum + product
  end
  return { model = model, layer = layer_sum / #view.layers, evicted_share = share / view.cells }
end

--- Effective number of independent heads, k_eff = ln(ger_model) / ln(evicted share): n independent heads that each
--- evict a share s give s^n. nil where it is undefined: nothing globally evicted, or a share of 0 or 1.
function M.k_eff(ger_model, evicted_share)
  if not ger_model or not evicted_share then return nil end
  if ger_model <= 0 or evicted_share <= 0 or evicted_share >= 1 then return nil end
  return math.log(ger_model) / math.log(evicted_share)
end

--- Agreement of two views of the same shape on the tokens x (pass X without sinks: shared sinks inflate agreement),
--- per cell then averaged: { jaccard, kappa, cells, kappa_cells }. Independent sets of share p already reach jaccard
--- p / (2 - p); kappa is 0 there. Cells in which both keep all or both keep none have no kappa and are left out of it.
function M.agreement(a, b, x)
  if a.cells ~= b.cells or a.tokens ~= b.tokens then
    error(string.format("eviction.agreement: keep-sets differ in shape (%d cells x %d tokens against %d x %d) -> "
      .. "compare presses on the same model and context", a.cells, a.tokens, b.cells, b.tokens), 0)
  end
  check(a, x)
  local n, jaccard, kappa, cells, kappa_cells = #x, 0, 0, 0, 0
  for _, layer in ipairs(a.layers) do
    for _, h in ipairs(layer.heads) do
      local both, in_a, in_b = 0, 0, 0
      for _, t in ipairs(x) do
        local ka, kb = a.keep:kept(layer.l, h, t), b.keep:kept(layer.l, h, t)
        if ka then in_a = in_a + 1 end
        if kb then in_b = in_b + 1 end
        if ka and kb then both = both + 1 end
      end
      local union = in_a + in_b - both
      jaccard = jaccard + (union == 0 and 1 or both / union)
      cells = cells + 1
      local pa, pb = in_a / n, in_b / n
      local observed, chance = 1 - (union - both) / n, pa * pb + (1 - pa) * (1 - pb)
      if chance < 1 then
        kappa = kappa + (observed - chance) / (1 - chance)
        kappa_cells = kappa_cells + 1
      end
    end
  end
  return { jaccard = jaccard / cells, kappa = kappa_cells > 0 and kappa / kappa_cells or nil, cells = cells,
    kappa_cells = kappa_cells }
end

return M
