-- SPDX-License-Identifier: Apache-2.0
-- Finite-size scaling: the same facts in longer passages, and the slopes of width and middle over size.
local t = require "kvbench.testing"
local kv = require "kvbench"
local padded = require "kvbench.experiment.padded"
local stats = kv.stats

local function words(text) return select(2, text:gsub("%S+", "")) end

t.case("padding moves every span with its text and changes nothing that is asked", function()
  local source = kv.dataset("knowledge", { size = 3 })
  local o = { measure = words, seed = "A", most = 2, keep = function(q) return q.direction == "forward" end }
  local short, mean = padded.dataset(source, 10, o) -- no room for any padding
  local long, large = padded.dataset(source, 300, o)
  local sum = 0
  for _, record in ipairs(source.records) do sum = sum + words(record.passage) end
  t.eq(mean, sum / 3)
  t.ok(large <= 300 and large > 250, tostring(large))
  for i, record in ipairs(source.records) do
    local p = long.records[i]
    t.eq(short.records[i].passage, record.passage)
    t.eq(p.id, record.id)
    t.eq(#p.questions, 2)
    t.eq(p.questions[1].q, record.questions[1].q)
    local at = p.passage:find(record.passage, 1, true)
    t.ok(at, "the record's own text is whole")
    for j, fact in ipairs(record.facts) do
      t.eq(p.facts[j].id, fact.id)
      for k, m in ipairs(fact.mentions) do
        local moved = p.facts[j].mentions[k]
        t.eq(p.passage:sub(moved.value[1] + 1, moved.value[2]), record.passage:sub(m.value[1] + 1, m.value[2]))
        t.eq(p.passage:sub(moved.sentence[1] + 1, moved.sentence[2]),
          record.passage:sub(m.sentence[1] + 1, m.sentence[2]))
        for b, span in ipairs(m.binding) do
          t.eq(p.passage:sub(moved.binding[b][1] + 1, moved.binding[b][2]), record.passage:sub(span[1] + 1, span[2]))
        end
      end
    end
  end
  t.eq((padded.dataset(source, 300, o)).hash, long.hash) -- the seed decides
  o.seed = "B"
  t.ok((padded.dataset(source, 300, o)).hash ~= long.hash)
  o.keep = function() return false end
  t.eq(padded.dataset(source, 300, o), nil)
end)

-- Ramps whose middle and width are known at every size: without noise the crossings are exact.
local function groups(sizes, middle, width, passages, noise)
  local out = {}
  for i, size in ipairs(sizes) do
    local rows = {}
    for p = 1, passages do
      for k = 0, 40 do
        local x = k / 4
        local y = .1 + .7 * math.max(0, math.min(1, .5 + (x - middle(size)) / (2 * width(size))))
        rows[#rows + 1] = { passage_id = p, ratio = 1 - 2 ^ (x - 10), x = x, y = y + (noise and noise(i, p, k) or 0) }
      end
    end
    out[i] = { size = size, rows = rows }
  end
  return out
end

t.case("crossings of the isotonic fit, by hand", function()
  local crossings = require("kvbench.stats.scaling").crossings
  -- 3 and 2 pool to 2.5 each: 0 1 2.5 2.5 4; a quarter of 4 is at 1, half at 1 + 1 / 1.5, three quarters at
  -- 3 + .5 / 1.5
  local at, fit = crossings({ 0, 1, 2, 3, 4 }, { 0, 1, 3, 2, 4 }, nil, { .25, .5, .75 })
  t.eq(fit, { 0, 1, 2.5, 2.5, 4 })
  t.near(at[1], 1, 1e-12)
  t.near(at[2], 1 + 1 / 1.5, 1e-12)
  t.near(at[3], 3 + .5 / 1.5, 1e-12)
  t.eq(crossings({ 0, 1 }, { 2, 1 }, nil, { .5 }), nil)
end)

t.case("a width that falls as size^-1/2 and a middle that moves a quarter doubling a doubling", function()
  local data = groups({ 64, 256, 1024 }, function(n) return 4 + .25 * math.log(n / 64) / math.log(2) end,
    function(n) return 2 * (n / 64) ^ -.5 end, 9)
  local fit = stats.finite_size(data, { x = "x", y = "y", replicates = 20 })
  t.near(fit.width_exponent.estimate, -.5, 1e-9)
  t.near(fit.shift.estimate, .25, 1e-9)
  t.eq(fit.width_exponent.n, 3)
  for i, size in ipairs { 64, 256, 1024 } do
    t.near(fit.sizes[i].width, 2 * (size / 64) ^ -.5, 1e-9)
    t.near(fit.sizes[i].middle, 4 + .5 * (i - 1), 1e-9)
    t.near(fit.sizes[i].high - fit.sizes[i].low, .7, 1e-9)
  end
end)

t.case("sizes that say nothing are left out, and why", function()
  local flat = groups({ 64, 128, 256, 512, 1024 }, function() return 5 end, function() return 1 end, 9)
  local r = kv.rng.new "no step"
  for _, row in ipairs(flat[2].rows) do row.y = r:normal() end
  flat[3].refused = "floor"
  for _, row in ipairs(flat[4].rows) do row.passage_id = row.passage_id % 4 end -- four passages
  for _, row in ipairs(flat[5].rows) do row.y = row.x > 5 and 1 or 0 end -- within one step of x
  local fit = stats.finite_size(flat, { x = "x", y = "y", replicates = 80 })
  t.eq(fit.width_exponent, nil)
  t.ok(fit.reason:find "^1 sizes have a step, 3 are needed", fit.reason)
  t.eq(fit.sizes[1].reason, nil)
  t.eq(fit.sizes[2].reason, "no fall that can be told from noise")
  t.eq(fit.sizes[3].reason, "floor")
  t.ok(fit.sizes[4].reason:find "4 passages at 41 x", fit.sizes[4].reason)
  t.eq(fit.sizes[5].reason, "sharper than the steps of x")
  for _, row in ipairs(flat[1].rows) do row.y = .5 end
  t.eq(stats.finite_size({ flat[1] }, { x = "x", y = "y" }).sizes[1].reason, "no fall at all")
  local none = stats.finite_size({ { size = 64, rows = {} }, { size = 128, rows = {} } }, { x = "x", y = "y" })
  t.ok(none.reason:find "0 passages at 0 x", none.reason)
end)

t.case("the null: a width that does not change is not found to narrow", function()
  local r = kv.rng.new "flat widths"
  local fit = stats.finite_size(groups({ 64, 256, 1024 }, function() return 5 end, function() return 1.5 end, 16,
    function() return .2 * r:normal() end), { x = "x", y = "y", replicates = 60 })
  t.ok(fit.width_exponent.lo < 0 and 0 < fit.width_exponent.hi)
  t.ok(fit.shift.lo < 0 and 0 < fit.shift.hi)
end)
