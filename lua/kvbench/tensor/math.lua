-- SPDX-License-Identifier: Apache-2.0
-- Element by element, with broadcasting: sizes are compared from the last dimension on, and a size of 1 is repeated
-- without copying. Results are f32 and contiguous; integer operands are converted. Comparisons yield 1 and 0. NaN and
-- infinities behave as in IEEE arithmetic and torch.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
local kinds = core.kinds
local T = core.methods

local kvb_tensor = ffi.typeof "kvb_tensor"

local function operand(op, x)
  if type(x) == "number" then return core.constant(x) end
  return core.alias(core.f32(op, x))
end

-- a and b: tensors or numbers (at least one tensor).
local function binary(op, a, b)
  local va = operand(op, a)
  local vb = operand(op, b)
  local shape = core.broadcast_shape(op, va, vb)
  local out = core.output(va.constant == 0 and va or vb, shape)
  core.stretch(va, shape)
  core.stretch(vb, shape)
  core.run("binary", va, vb, out, kinds.binary[op])
  core.drop(va, vb)
  return out
end

local function unary(op, t, low, high)
  local x = core.f32(op, t)
  local out = core.output(x, core.sizes(x))
  core.run("unary", x, out, kinds.unary[op], low or 0, high or 0)
  return out
end

--- a + b, a - b, a * b, a / b, a ^ b and -a are the methods add, sub, mul, div, pow and neg; b may be a number.
---     tensor.from({ 1, 2, 3 }):add(tensor.from({ { 10 }, { 20 } })) --> { { 11, 12, 13 }, { 21, 22, 23 } }
function T:add(other) return (binary("add", self, other)) end
--- self - other.
function T:sub(other) return (binary("sub", self, other)) end
--- self * other, element by element (matrix product: matmul).
function T:mul(other) return (binary("mul", self, other)) end
--- self / other. Division by 0 gives an infinity or NaN.
function T:div(other) return (binary("div", self, other)) end
--- self ^ other. A negative base with a fraction as exponent gives NaN.
function T:pow(other) return (binary("pow", self, other)) end
--- The larger of two, element by element; NaN if either is (over a dimension: max).
function T:maximum(other) return (binary("maximum", self, other)) end
--- The smaller of two, element by element; NaN if either is.
function T:minimum(other) return (binary("minimum", self, other)) end
--- 1 where self < other, else 0.
---     tensor.from({ 1, 2, 3 }):lt(2) --> { 1, 0, 0 }
function T:lt(other) return (binary("lt", self, other)) end
--- 1 where self <= other, else 0.
function T:le(other) return (binary("le", self, other)) end
--- 1 where self > other, else 0.
function T:gt(other) return (binary("gt", self, other)) end
--- 1 where self >= other, else 0.
function T:ge(other) return (binary("ge", self, other)) end
--- 1 where self = other, else 0.
function T:eq(other) return (binary("eq", self, other)) end
--- 1 where self and other differ (NaN differs from everything), else 0.
function T:ne(other) return (binary("ne", self, other)) end
--- 1 where both are not 0.
function T:logical_and(other) return (binary("mul", self:ne(0), core.f32("logical_and", other):ne(0))) end
--- 1 where at least one is not 0.
function T:logical_or(other) return (binary("maximum", self:ne(0), core.f32("logical_or", other):ne(0))) end
--- 1 where self is 0.
function T:logical_not() return (binary("eq", self, 0)) end

--- -self.
function T:neg() return unary("neg", self) end
--- e^self.
function T:exp() return unary("exp", self) end
--- Natural logarithm; -inf at 0, NaN below.
function T:log() return unary("log", self) end
--- Square root; NaN below 0.
function T:sqrt() return unary("sqrt", self) end
--- |self|.
function T:abs() return unary("abs", self) end
--- Cosine of radians.
function T:cos() return unary("cos", self) end
--- Sine of radians.
function T:sin() return unary("sin", self) end
--- Hyperbolic tangent.
function T:tanh() return unary("tanh", self) end
--- 1 / (1 + e^-self).
function T:sigmoid() return unary("sigmoid", self) end
--- The largest whole number that is not above.
function T:floor() return unary("floor", self) end
--- The smallest whole number that is not below.
function T:ceil() return unary("neg", unary("floor", unary("neg", self))) end
--- The nearest whole number, halves to the even one.
---     tensor.from({ 0.5, 1.5, 2.6 }):round() --> { 0, 2, 3 }
function T:round() return unary("round", self) end
--- The error function.
function T:erf() return unary("erf", self) end
--- At least low and at most high; either may be nil. NaN stays.
---     tensor.from({ -3, 0.5, 9 }):clamp(nil, 2) --> { -3, 0.5, 2 }
function T:clamp(low, high)
  return unary("clamp", self, core.number("clamp", "low", low or -math.huge),
    core.number("clamp", "high", high or math.huge))
end
--- max(self, 0).
function T:relu() return unary("clamp", self, 0, math.huge) end
--- self * sigmoid(self).
function T:silu() return self * self:sigmoid() end
--- self * (1 + erf(self / sqrt 2)) / 2.
function T:gelu() return self * ((self * math.sqrt(0.5)):erf() + 1) * 0.5 end
--- 1 / self.
function T:reciprocal() return (binary("div", 1, self)) end
--- 1 / sqrt(self).
function T:rsqrt() return (binary("div", 1, self:sqrt())) end
--- self * self.
function T:square() return (binary("mul", self, self)) end
--- -1, 0 or 1; 0 for NaN.
function T:sign() return (binary("sub", self:gt(0), self:lt(0))) end
--- 1 where self is NaN.
function T:isnan() return (binary("ne", self, self)) end
--- 1 where self is neither NaN nor infinite.
function T:isfinite() return (binary("lt", unary("abs", self), math.huge)) end

--- a where condition is not 0, else b: element by element with broadcasting; numbers are allowed.
--- The
--- side that is not taken cannot leak NaN or infinities.
---     tensor.where(tensor.from({ 1, 0 }), tensor.from({ 7, 8 }), -1) --> { 7, -1 }
function core.where(condition, a, b)
  local vc = operand("where", condition)
  local va = operand("where", a)
  local vb = operand("where", b)
  local fake = kvb_tensor()
  local first = core.broadcast_shape("where", vc, va)
  core.stretch(fake, first)
  local shape = core.broadcast_shape("where", fake, vb)
  for _, v in ipairs { vc, va, vb } do core.stretch(v, shape) end
  local out = core.output(vc.constant == 0 and vc or va.constant == 0 and va or vb, shape)
  core.run("where", vc, va, vb, out)
  core.drop(vc, va, vb)
  return out
end

--- t:where(a, b): t is the condition.
function T:where(a, b) return (core.where(self, a, b)) end

--- value (a number or a tensor) where mask is not 0, else self.
---     tensor.from({ 1, 2, 3 }):masked_fill(tensor.from({ 0, 1, 0 }), -math.huge) --> { 1, -math.huge, 3 }
function T:masked_fill(mask, value) return (core.where(mask, value, self)) end

-- self = self op other, into self's own elements.
local function in_place(op, t, other)
  if core.expect(op .. "_", t).dtype ~= kinds.dtype.f32 then
    error(("%s_: a tensor of %s cannot be changed in place -> t:to('f32')"):format(op, t:type()), 0)
  end
  if core.is(other) and core.shares(t, other) then other = other:clone() end
  local v = operand(op .. "_", other)
  if not core.stretch(v, core.sizes(t)) then
    error(("%s_: a tensor of shape %s does not fit into shape %s"):format(op, core.show(other), core.show(t)), 0)
  end
  core.run("binary", t, v, t, kinds.binary[op])
  core.drop(v)
  return t
end

--- self + other, written into self (a view changes what it looks at). Returns self.
---     tensor.eye(2):add_(1) --> { { 2, 1 }, { 1, 2 } }
function T:add_(other) return (in_place("add", self, other)) end
--- self - other, written into self.
function T:sub_(other) return (in_place("sub", self, other)) end
--- self * other, written into self.
function T:mul_(other) return (in_place("mul", self, other)) end
--- self / other, written into self.
function T:div_(other) return (in_place("div", self, other)) end
--- self with value where mask is not 0, written into self.
function T:masked_fill_(mask, value) return self:copy_((core.where(mask, value, self))) end

core.operators = {
  __add = function(a, b) return (binary("add", a, b)) end,
  __sub = function(a, b) return (binary("sub", a, b)) end,
  __mul = function(a, b) return (binary("mul", a, b)) end,
  __div = function(a, b) return (binary("div", a, b)) end,
  __pow = function(a, b) return (binary("pow", a, b)) end,
  __unm = function(a) return a:neg() end,
  __lt = function() error("tensors: < and > cannot compare element by element in Lua -> a:lt(b), a:gt(b)", 0) end,
  __le = function() error("tensors: <= and >= cannot compare element by element in Lua -> a:le(b), a:ge(b)", 0) end,
}
