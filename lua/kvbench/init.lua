-- SPDX-License-Identifier: Apache-2.0
-- kv = require "kvbench": the workbench's modules, loaded when first touched so that the prompt appears at once.
local modules = {
  args = true, bench = true, dataset = true, experiment = true, json = true, metric = true, model = true, plot = true,
  press = true, probe = true, prompt = true, ratios = true, rng = true, runs = true, stats = true, sweep = true,
  tag = true, tensor = true,
}

return setmetatable({}, {
  __index = function(kv, name)
    if not modules[name] then
      local names = {}
      for known in pairs(modules) do names[#names + 1] = known end
      error(("kvbench has no module '%s' %s"):format(tostring(name), require("kvbench.text").suggest(name, names, 20)),
        0)
    end
    local module = require("kvbench." .. name)
    rawset(kv, name, module)
    return module
  end,
})
