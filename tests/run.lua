-- SPDX-License-Identifier: Apache-2.0
-- kvbench tests/run.lua FILE...: runs Lua test files and closes with `N passed, N failed, N skipped`.
local t = require "kvbench.testing"
for _, file in ipairs(arg) do
  local chunk, err = loadfile(file)
  if not chunk then t.case(file, function() error(err, 0) end) else
    local before = t.passed + t.failed + t.skipped
    local ok, message = xpcall(chunk, debug.traceback)
    if not ok then t.case(file, function() error(message, 0) end) end
    t.case(file .. " runs at least one case", function() t.ok(t.passed + t.failed + t.skipped > before,
      "no case ran") end)
  end
end
os.exit(t.finish() and 0 or 1)
