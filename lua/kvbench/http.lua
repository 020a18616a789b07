-- SPDX-License-Identifier: Apache-2.0
-- POST of JSON to an HTTP endpoint (core/http.c). The key is named by its environment variable and never comes here.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local json = require "kvbench.json"
local C = library.C

local M = {}

--- Sends a value as JSON. opt: key_variable, seconds (60), most = bytes of the answer (16 MiB).
-- Returns {status, body, retry_after}, or nil and the reason when nothing came back. A cancel is an error.
function M.post(url, value, opt)
  opt = opt or {}
  local body = json.encode(value)
  local status, bytes = ffi.new "int32_t[1]", ffi.new "int64_t[1]"
  local wait, text = ffi.new "double[1]", ffi.new "const char *[1]"
  local result = C.kvb_http_post(url, opt.key_variable, body, #body, opt.seconds or 60, opt.most or 16 * 1024 * 1024,
    status, wait, text, bytes)
  if result == C.KVB_OK then
    return { status = status[0], retry_after = wait[0], body = ffi.string(text[0], bytes[0]) }
  end
  if result == C.KVB_E_IO or result == C.KVB_E_FORMAT then return nil, library.diagnostic() end
  error(library.diagnostic(), 0)
end

return M
