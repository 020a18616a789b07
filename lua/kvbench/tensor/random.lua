-- SPDX-License-Identifier: Apache-2.0
-- Randomness takes a seed, a string or a number, and nothing else: the same call gives the same numbers on every
-- machine and
-- device, in any order. Derive seeds by adding words: seed .. "/layer 3".
local core = require "kvbench.tensor.core"
local C = require("kvbench.ffi").C

--- The 64-bit seed that a string or number stands for.
function core.seed(seed)
  if seed == nil then error("tensor: randomness needs a seed -> tensor.rand({2, 3}, 'my seed')", 0) end
  local s = tostring(seed)
  return C.kvb_hash64(s, #s, 0)
end

--- Uniform in [0, 1) with 24 bits. Element i (row-major) depends on the seed and first + i
--- only,
--- so a part of a larger tensor can be drawn alone; first is 0 unless told.
---     tensor.rand({ 2, 3 }, "seed"):size() --> { 2, 3 }
function core.rand(shape, seed, first)
  if type(shape) == "number" then
    error(("tensor: randomness takes a list of sizes and a seed, not %g -> tensor.rand({ 2, 3 }, 'my seed')"):format(
      shape), 0)
  end
  local out = core.new(shape)
  core.run("uniform", out, core.seed(seed), first or 0)
  return out
end

--- Standard normal (Box-Muller over two uniform tensors); first as in rand.
function core.randn(shape, seed, first)
  core.seed(seed)
  local radius = ((1 - core.rand(shape, tostring(seed) .. "/r", first)):log() * -2):sqrt()
  return radius * (core.rand(shape, tostring(seed) .. "/a", first) * (2 * math.pi)):cos()
end

--- Whole numbers from low to high - 1 (torch's rule), i32.
---     tensor.randint(0, 10, { 1000 }, "seed"):max() --> 9
function core.randint(low, high, shape, seed)
  core.whole("randint", "low", low)
  core.whole("randint", "high", high)
  if high <= low or high - low > 2 ^ 24 then
    error(("randint: from %s to below %s -> 1 to 2^24 numbers"):format(tostring(low), tostring(high)), 0)
  end
  return ((core.rand(shape, seed) * (high - low)):floor() + low):to("i32")
end

--- The indices 1 .. n in random order, i32.
---     tensor.randperm(5, "seed"):sort() --> { 1, 2, 3, 4, 5 }
function core.randperm(n, seed) return core.rand({ n }, seed):argsort() end

--- 1 with probability p, else 0. p: a number, or a tensor that broadcasts to shape.
---     tensor.bernoulli(1, { 3 }, "seed") --> { 1, 1, 1 }
function core.bernoulli(p, shape, seed) return core.rand(shape, seed):lt(p) end
