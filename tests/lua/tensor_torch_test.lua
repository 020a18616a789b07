-- SPDX-License-Identifier: Apache-2.0
-- The tensor API against torch's results (tests/golden/make_tensor.py): the same names give the same numbers, with
-- dimensions
-- and indices counted from 1.
local t = require "kvbench.testing"
local json = require "kvbench.json"
local paths = require "kvbench.paths"
local tensor = require "kvbench.tensor"

local file = assert(io.open(paths.at "tests/golden/tensor.json"))
local golden = json.decode(file:read "*a")
file:close()

local minus_one = function(x) return x - 1 end -- an index, as torch counts
local calls = {
  add = function(a, b) return a + b end,
  pow = function(a, b) return a ^ b end,
  where = function(m, a) return tensor.where(m, a, -2) end,
  logical_and = function(m, a) return m:logical_and(a) end,
  clamp = function(x) return x:clamp(-1, 0.45) end,
  amin = function(x) return x:min(2) end,
  amax = function(x) return x:max(2) end,
  sum_list = function(x) return x:sum { 1, 3 } end,
  mean_list_keep = function(x) return x:mean({ 1, 3 }, true) end,
  var_keep = function(x) return x:var(-1, 0, true) end,
  norm = function(x) return x:norm(-1) end,
  norm1 = function(x) return x:norm(1, 1) end,
  norm_inf = function(x) return x:norm(2, math.huge) end,
  argmax = function(x) return minus_one(x:argmax(2)) end,
  argmin = function(x) return minus_one(x:argmin(2)) end,
  all = function(x) return x:all(2) end,
  any = function(x) return x:any(1) end,
  log_softmax = function(x) return x:log_softmax(-1) end,
  argsort = function(x) return minus_one(x:argsort()) end,
  argsort_down = function(x) return minus_one(x:argsort(2, true)) end,
  sort_first = function(x) return (x:sort(1)) end,
  topk = function(x) return (x:topk(2)) end,
  topk_smallest = function(x) return (x:topk(2, -1, false)) end,
  median = function(x) return x:median(2) end,
  kthvalue = function(x) return (x:kthvalue(2, 2)) end,
  gather = function(x, i) return x:gather(2, i + 1) end,
  scatter = function(x, i, src)
    return x:scatter(2, tensor.from({ { 3, 1, 2 }, { 2, 4, 1 } }, "i32"), src), i
  end,
  scatter_add = function(x, i, src) return x:scatter_add(2, i + 1, src) end,
  scatter_amax = function(x, i, src) return x:scatter(2, i + 1, src, "max") end,
  index_select = function(x) return x:index_select(2, { 4, 1, -1 }) end,
  nonzero = function(x) return minus_one(x:nonzero()) end,
  masked_select = function(x, m) return x:masked_select(m) end,
  masked_fill = function(x, m) return x:masked_fill(m, 9) end,
  slice = function(x) return x[{ 2, {}, { 2, 4, 2 } }] end,
  pad = function(x) return x:pad({ 1, 2, 0, 1 }, 7) end,
  tile = function(x) return x:tile(2, 1, 3) end,
  repeat_interleave = function(x) return x:repeat_interleave(3, 1) end,
  repeat_counts = function(x) return x:repeat_interleave({ 1, 0, 2, 1 }, 2) end,
  flip = function(x) return x:flip(1, 3) end,
  roll = function(x) return x:roll(-3, 2) end,
  roll_far = function(x) return x:roll(7, 1) end,
  triu = function(x) return x:triu(1) end,
  tril = function(x) return x:tril(-1) end,
  diag_embed = function(x) return x:diag_embed(1) end,
  diagonal = function(x) return x:diagonal(-1) end,
  unfold = function(x) return x:unfold(2, 3, 2) end,
  chunk = function(x) return x:chunk(2, 2)[2] end,
  split = function(x) return x:split({ 1, 4 }, 2)[2] end,
  movedim = function(x) return x:movedim(1, 3) end,
  matmul_vector = function(x, v) return x:matmul(v) end,
  vector_matmul = function(v, x) return v:matmul(x) end,
  bmm = function(x, y) return x:bmm(y) end,
  outer = function(x, y) return x:outer(y) end,
  conv1d = function(x, w, b) return x:conv1d(w, { stride = 2, padding = 2, dilation = 2, groups = 2, bias = b }) end,
  conv1d_plain = function(x, w) return x:conv1d(w) end,
  avg_pool1d = function(x) return x:avg_pool1d(4, 2, { stride = 3 }) end,
  max_pool1d = function(x) return x:max_pool1d(3, 1) end,
}
for name in ("exp abs tanh sigmoid floor ceil round erf relu reciprocal square sign cos sin log sqrt rsqrt silu gelu")
  :gmatch "%a+" do calls[name] = function(x) return x[name](x) end end
for name in ("sum mean prod var std logsumexp softmax cumsum"):gmatch "%a+" do
  calls[name] = function(x) return x[name](x, 2) end
end

local function near(mine, expected, name)
  t.eq(mine:size(), expected:size(), name .. ": shape")
  local a, b = mine:to("f32"):reshape(-1), expected:reshape(-1)
  for i = 1, a:numel() do
    local x, y = a:at(i), b:at(i)
    local off = math.abs(x - y)
    t.ok(off <= 3e-6 * math.max(1, math.abs(y)), ("%s: element %d is %g, torch has %g"):format(name, i, x, y))
  end
end

local names, linear_algebra = {}, 0
for name, case in pairs(golden) do
  if case.out then names[#names + 1] = name else linear_algebra = linear_algebra + 1 end
end
table.sort(names)
for _, device in ipairs { "cpu", "ref" } do
  for _, name in ipairs(names) do
    t.case(name .. " on " .. device, function()
      local given = {}
      for i, values in ipairs(golden[name].given) do given[i] = tensor.from(values) end
      tensor.use(device)
      local out = assert(calls[name], "no call for it")(unpack(given))
      tensor.use "cpu"
      near(out, tensor.from(golden[name].out), name)
    end)
    tensor.use "cpu"
  end
end
t.case("every call has its numbers", function()
  for name in pairs(calls) do t.ok(golden[name], name .. " is not in tests/golden/tensor.json") end
  t.ok(#names > 60 and linear_algebra > 10)
end)
