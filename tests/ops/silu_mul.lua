-- SPDX-License-Identifier: Apache-2.0
-- The cases of gelu_mul: the same shapes, another gate.
local gate = dofile(require("kvbench.paths").at "tests/ops/gelu_mul.lua")
gate.op, gate.why = "silu_mul", "exp and the quotient in f32"
return gate
