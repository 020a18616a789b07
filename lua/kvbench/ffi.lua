-- SPDX-License-Identifier: Apache-2.0
-- The one ffi.cdef of the project, the check that both sides mean the same structs, and the one place where a failed
-- status becomes a Lua error.
local ffi = require "ffi"
local texts = require "kvbench.cdef" -- {header = , ops = }: put there by cli.lua from what main.c embeds

local M = { texts = texts, ops = {} }

local declarations = { (texts.header:match("/%*%[cdef%]%*/(.-)/%*%[/cdef%]%*/")) }
for name, parameters in texts.ops:gmatch("\nKVB_OP%(([%w_]+), (%b()),") do
  M.ops[#M.ops + 1] = name
  declarations[#declarations + 1] = "kvb_status kvb_op_" .. name .. "(int32_t device, " .. parameters:sub(2) .. ";"
end
ffi.cdef(table.concat(declarations, "\n"))

local C = ffi.C
M.C = C

if C.kvb_abi_version() ~= C.KVB_ABI_VERSION then
  error(("the interface is version %d in Lua and %d in C -> rebuild: make clean build"):format(C.KVB_ABI_VERSION,
    C.kvb_abi_version()), 0)
end
for _, name in ipairs { "kvb_tensor", "kvb_weight_info", "kvb_model_desc", "kvb_request", "kvb_result", "kvb_paused",
  "kvb_patch", "kvb_watch", "kvb_fuse_step" } do
  local here, there = ffi.sizeof(name), tonumber(C.kvb_sizeof(name))
  if here ~= there then
    error(("struct %s has %d bytes in Lua and %d in C -> rebuild: make clean build"):format(name, here, there), 0)
  end
end

--- The thread's diagnostic as one text: what happened, and after "-> " what to do next.
function M.diagnostic()
  local message, hint = ffi.string(C.kvb_diag_message()), ffi.string(C.kvb_diag_hint())
  return hint == "" and message or message .. "\n" .. hint
end

--- Raises the diagnostic unless status is KVB_OK. Errors carry no Lua position: they are for the
--- user, not about our code.
function M.check(status)
  if status ~= C.KVB_OK then error(M.diagnostic(), 0) end
end

return M
