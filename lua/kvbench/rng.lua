-- SPDX-License-Identifier: Apache-2.0
-- Seeded randomness for everything that is stored, hashed or compared.
--
-- xoshiro128** (Blackman & Vigna, "Scrambled linear pseudorandom number generators", 2018) over 32-bit words, because
-- LuaJIT's bit library works on 32 bits and gives the same stream on every machine. `math.random` is never used: its
-- stream differs between Lua builds, and it is global state.
local bit = require "bit"
local bxor, bor, lshift, rshift, tobit = bit.bxor, bit.bor, bit.lshift, bit.rshift, bit.tobit

local M = {}
local Rng = {}
Rng.__index = Rng

local function rotl(x, k) return bor(lshift(x, k), rshift(x, 32 - k)) end

-- 32-bit product without losing low bits: doubles hold 53 bits, so the factor is split.
local function mul32(a, b)
  a, b = a % 4294967296, b % 4294967296
  local high = math.floor(a / 65536)
  return tobit(((high * b) % 65536) * 65536 + (a % 65536) * b)
end

--- 32-bit hash of a string (FNV-1a, finished by murmur3's mixer); also used to derive child streams.
function M.hash32(s)
  local h = tobit(0x811c9dc5)
  for i = 1, #s do h = mul32(bxor(h, s:byte(i)), 16777619) end
  h = mul32(bxor(h, rshift(h, 16)), 0x85ebca6b)
  h = mul32(bxor(h, rshift(h, 13)), 0xc2b2ae35)
  return bxor(h, rshift(h, 16))
end

--- A stream from a seed (string or number). Equal seeds give equal streams.
function M.new(seed)
  seed = tostring(seed)
  local r = setmetatable({ seed = seed }, Rng)
  for i = 1, 4 do r[i] = M.hash32(i .. ":" .. seed) end
  if r[1] == 0 and r[2] == 0 and r[3] == 0 and r[4] == 0 then r[1] = 1 end
  for _ = 1, 8 do r:bits() end
  return r
end

--- An independent stream named after this one's seed; drawing from either leaves the other unchanged.
function Rng:fork(name) return M.new(self.seed .. "/" .. tostring(name)) end

--- 32 random bits as a number in [0, 2^32).
function Rng:bits()
  local s1 = self[2]
  local five = rotl(tobit(s1 + lshift(s1, 2)), 7) -- products with 5 and 9 as sums: the same bits, sooner
  local result = tobit(five + lshift(five, 3))
  local t = lshift(s1, 9)
  self[3] = bxor(self[3], self[1])
  self[4] = bxor(self[4], s1)
  self[2] = bxor(s1, self[3])
  self[1] = bxor(self[1], self[4])
  self[3] = bxor(self[3], t)
  self[4] = rotl(self[4], 11)
  return result % 4294967296
end

--- Uniform in [0, 1) with 53 bits.
function Rng:uniform()
  local high, low = math.floor(self:bits() / 32), math.floor(self:bits() / 64)
  return (high * 67108864 + low) / 9007199254740992
end

--- Uniform integer in lo..hi, both included.
function Rng:int(lo, hi) return lo + math.floor(self:uniform() * (hi - lo + 1)) end

--- Standard normal (Box-Muller; the second value is discarded so that streams do not depend on call parity).
function Rng:normal()
  local u = 1 - self:uniform()
  return math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * self:uniform())
end

--- A uniformly drawn element of the array t.
function Rng:choice(t) return t[self:int(1, #t)] end

--- Fisher-Yates, in place; returns t.
function Rng:shuffle(t)
  for i = #t, 2, -1 do
    local j = self:int(1, i)
    t[i], t[j] = t[j], t[i]
  end
  return t
end

return M
