-- SPDX-License-Identifier: Apache-2.0
-- Folds for probes: nothing that is tested shares its passage or its sentence template with what was learnt from.
--
-- Passages and templates cross (each template stands in many passages), so one grouping cannot hold both out. Passages
-- are dealt into 5 groups and templates into up to 5; each pair of groups is a fold that tests the items of both and
-- learns from the items of neither. Every item is tested exactly once. Rejected: connected components of the two, which
-- on templated data is one component.
local rng = require "kvbench.rng"

local M = {}

local GROUPS = 5

-- Deals the distinct names into `groups`, the largest first into the emptiest, ties in random order.
local function deal(names, groups, seed)
  local count, order = {}, {}
  for _, name in ipairs(names) do
    if not count[name] then count[name], order[#order + 1] = 0, name end
    count[name] = count[name] + 1
  end
  table.sort(order)
  rng.new("probe/folds/" .. tostring(seed)):shuffle(order)
  local rank = {}
  for i, name in ipairs(order) do rank[name] = i end
  table.sort(order, function(a, b)
    if count[a] ~= count[b] then return count[a] > count[b] end
    return rank[a] < rank[b]
  end)
  local size, group_of, n = {}, {}, math.min(groups, #order)
  for g = 1, n do size[g] = 0 end
  for _, name in ipairs(order) do
    local least = 1
    for g = 2, n do if size[g] < size[least] then least = g end end
    group_of[name], size[least] = least, size[least] + count[name]
  end
  return group_of, n
end

--- Folds of items {passage =, template = (nil: not held out)}. Returns {folds = list of {train, test}, outer = the same
--- by passage group only (for choosing penalties), passages, templates = numbers of groups, group = passage group per
--- item, note = what could not be held out}.
function M.make(items, seed)
  local passages, templates = {}, {}
  for i, item in ipairs(items) do
    passages[i], templates[i] = tostring(item.passage), item.template and tostring(item.template) or "one"
  end
  local p_of, P = deal(passages, GROUPS, seed)
  local t_of, T = deal(templates, GROUPS, tostring(seed) .. "/templates")
  local plan = { folds = {}, outer = {}, passages = P, templates = T, group = {} }
  for i = 1, #items do plan.group[i] = p_of[passages[i]] end
  if T < 2 then plan.note = "one sentence template: folds are by passage only" end
  local function fold(p, t)
    local train, test = {}, {}
    for i = 1, #items do
      local same_p, same_t = p_of[passages[i]] == p, t and T > 1 and t_of[templates[i]] == t
      local tested = same_p and (not t or T < 2 or same_t)
      if tested then test[#test + 1] = i elseif not same_p and not same_t then train[#train + 1] = i end
    end
    return { train = train, test = test }
  end
  for p = 1, P do
    plan.outer[p] = fold(p)
    for t = 1, T do
      local f = fold(p, t)
      if #f.test > 0 and #f.train > 0 then plan.folds[#plan.folds + 1] = f end
    end
  end
  return plan
end

--- Splits learning items into those to learn from and those to judge penalties by: the passage groups of a quarter of
--- them, chosen by the seed. Returns two arrays.
function M.split(plan, train, seed)
  local groups, seen = {}, {}
  for _, item in ipairs(train) do
    local g = plan.group[item]
    if not seen[g] then seen[g], groups[#groups + 1] = true, g end
  end
  table.sort(groups)
  if #groups < 2 then return {}, {} end
  local held = groups[rng.new("probe/inner/" .. tostring(seed)):int(1, #groups)]
  local learn, judge = {}, {}
  for _, item in ipairs(train) do
    local to = plan.group[item] == held and judge or learn
    to[#to + 1] = item
  end
  return learn, judge
end

--- Drops classes with fewer than `least` items (all are tested once). items: list; class_of(item) -> name or nil.
--- Returns kept items, labels (1 ...), names of the classes by label, dropped = list of {name, n}.
function M.classes(items, class_of, least)
  local count, names = {}, {}
  for _, item in ipairs(items) do
    local name = class_of(item)
    if name then
      if not count[name] then count[name], names[#names + 1] = 0, name end
      count[name] = count[name] + 1
    end
  end
  table.sort(names)
  local label, kept_names, dropped = {}, {}, {}
  for _, name in ipairs(names) do
    if count[name] >= least then
      kept_names[#kept_names + 1] = name
      label[name] = #kept_names
    else
      dropped[#dropped + 1] = { name = name, n = count[name] }
    end
  end
  local kept, labels = {}, {}
  for _, item in ipairs(items) do
    local name = class_of(item)
    if name and label[name] then kept[#kept + 1], labels[#labels + 1] = item, label[name] end
  end
  return kept, labels, kept_names, dropped
end

return M
