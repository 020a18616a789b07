-- SPDX-License-Identifier: Apache-2.0
-- SHA-256 (FIPS 180-4) as a running hash, in Lua so that datasets can be made and checked without the C library.
local bit, ffi = require "bit", require "ffi"
local band, bxor, bnot, ror, rshift, tobit, bswap = bit.band, bit.bxor, bit.bnot, bit.ror, bit.rshift, bit.tobit,
  bit.bswap

local M = {}
local Hash = {}
Hash.__index = Hash

-- Fractional bits of the cube and square roots of the first primes; doubles carry the 32 bits that are needed.
local K, H0 = ffi.new("int32_t[64]"), {}
do
  local n, candidate = 0, 2
  while n < 64 do
    local prime = true
    for d = 2, math.floor(math.sqrt(candidate)) do if candidate % d == 0 then prime = false end end
    if prime then
      K[n] = tobit(math.floor((candidate ^ (1 / 3) % 1) * 4294967296))
      if n < 8 then H0[n] = tobit(math.floor((math.sqrt(candidate) % 1) * 4294967296)) end
      n = n + 1
    end
    candidate = candidate + 1
  end
end

local W = ffi.new("int32_t[64]")

local function block(h, words)
  for i = 0, 15 do W[i] = bswap(words[i]) end
  for i = 16, 63 do
    local x, y = W[i - 15], W[i - 2]
    local s0 = bxor(ror(x, 7), ror(x, 18), rshift(x, 3))
    local s1 = bxor(ror(y, 17), ror(y, 19), rshift(y, 10))
    W[i] = tobit(W[i - 16] + s0 + W[i - 7] + s1)
  end
  local a, b, c, d, e, f, g, hh = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
  for i = 0, 63 do
    local s1 = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
    local t1 = tobit(hh + s1 + bxor(band(e, f), band(bnot(e), g)) + K[i] + W[i])
    local s0 = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
    local t2 = tobit(s0 + bxor(band(a, b), band(a, c), band(b, c)))
    hh, g, f, e, d, c, b, a = g, f, e, tobit(d + t1), c, b, a, tobit(t1 + t2)
  end
  h[0], h[1], h[2], h[3] = tobit(h[0] + a), tobit(h[1] + b), tobit(h[2] + c), tobit(h[3] + d)
  h[4], h[5], h[6], h[7] = tobit(h[4] + e), tobit(h[5] + f), tobit(h[6] + g), tobit(h[7] + hh)
end

--- A running hash: h:update(string), then h:hex() once.
function M.new()
  local h = ffi.new("int32_t[8]")
  for i = 0, 7 do h[i] = H0[i] end
  return setmetatable({ h = h, buffer = ffi.new("int32_t[16]"), fill = 0, total = 0 }, Hash)
end

--- Adds bytes; returns the hash, so that calls chain.
function Hash:update(s)
  local bytes, at = ffi.cast("uint8_t *", self.buffer), 0
  local source = ffi.cast("const uint8_t *", s)
  self.total = self.total + #s
  while at < #s do
    local n = math.min(64 - self.fill, #s - at)
    ffi.copy(bytes + self.fill, source + at, n)
    self.fill, at = self.fill + n, at + n
    if self.fill == 64 then
      block(self.h, self.buffer)
      self.fill = 0
    end
  end
  return self
end

--- The digest as 64 hex digits. Ends the hash.
function Hash:hex()
  local bits = self.total * 8
  self:update("\128")
  self:update(("\0"):rep((56 - self.fill) % 64))
  local high, low = math.floor(bits / 4294967296), bits % 4294967296
  local tail = {}
  for _, word in ipairs { high, low } do
    for shift = 24, 0, -8 do tail[#tail + 1] = string.char(band(rshift(tobit(word), shift), 255)) end
  end
  self:update(table.concat(tail))
  local out = {}
  for i = 0, 7 do out[i + 1] = bit.tohex(self.h[i]) end
  return table.concat(out)
end

--- SHA-256 of one string, as 64 hex digits.
function M.hex(s) return M.new():update(s):hex() end

return M
