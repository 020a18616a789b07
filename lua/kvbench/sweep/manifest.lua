-- SPDX-License-Identifier: Apache-2.0
-- What was run: the fields that must agree for rows of two invocations to belong together, and those that are only
-- recorded.
local ffi = require "ffi"
local json = require "kvbench.json"
local C = require("kvbench.ffi").C

local M = {}

local function press_list(o)
  local list = {}
  for i, press in ipairs(o.presses) do list[i] = { label = press:label(), source_hash = press.source_hash } end
  return list
end

-- Names and versions of the sweep's own metrics; nil without any, as runs were stored before there were metrics.
local function metric_list(o)
  local list = {}
  for i, own in ipairs(o.metrics or {}) do list[i] = own.name .. (own.version and " " .. own.version or "") end
  return #list > 0 and list or nil
end

--- The manifest of a sweep's settings.
function M.of(o)
  return {
    model = o.model.name, model_hash = o.model.hash, dtype = o.model.dtype, device = o.model.device:match "^%a+",
    tier = o.model.tier,
    dataset = o.dataset.task, dataset_seed = o.dataset.seed, dataset_hash = o.dataset.hash,
    generator_hash = o.dataset.generator_hash, passages = #o.dataset.records, presses = press_list(o),
    ratios = o.ratios, regimes = o.regimes, evictable = o.evictable, style = o.style, idk_example = o.idk_example,
    max_new_tokens = o.max_new_tokens, ignore_stop = o.ignore_stop, seed = o.seed, sinks = o.sinks,
    variants = o.variants and o.variants.id, teacher = o.teacher or nil, metrics = metric_list(o),
    observed = o.observed,
    buckets = o.model.buckets,
    version = ffi.string(C.kvb_version()), revision = ffi.string(C.kvb_git_revision()),
  }
end

-- Recorded, but no reason to keep rows apart: rows do not depend on the buckets (proven at load), and every passage
-- names the revision that made it, should a run go on after an update.
local informative = { revision = true, version = true, buckets = true }

--- The first field in which two manifests differ, with both values as text; nil when they agree. Both are as JSON reads
--- them: what a table in memory and a file would say differently (nil, null) is the same here.
function M.difference(a, b)
  local names = {}
  for name in pairs(a) do names[name] = true end
  for name in pairs(b) do names[name] = true end
  local sorted = {}
  for name in pairs(names) do sorted[#sorted + 1] = name end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    local function text(value) return json.encode(value == nil and json.null or value) end
    local x, y = text(a[name]), text(b[name])
    if x ~= y and not informative[name] then return name, x, y end
  end
end

--- An error that names the difference, unless the stored manifest (JSON text) is that of `manifest`.
function M.require_same(stored, manifest, folder)
  local name, was, is = M.difference(json.decode(stored, folder .. "/run.json"),
    json.decode(json.encode(manifest), "this run"))
  if name then
    error(("'%s' holds another run: %s was %s, now %s -> choose another out = folder, or delete this one"):format(
      folder, name, was:sub(1, 80), is:sub(1, 80)), 0)
  end
end

--- Names of the condition blocks of a manifest: the full cache, and each press at all of its ratios. A work unit is one
--- block of one passage.
function M.blocks(manifest)
  local list, evicting = {}, false
  for _, ratio in ipairs(manifest.ratios) do
    if ratio == 0 then list[1] = "full" else evicting = true end
  end
  for _, press in ipairs(evicting and manifest.presses or {}) do list[#list + 1] = press.label end
  return list
end

return M
