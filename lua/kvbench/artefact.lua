-- SPDX-License-Identifier: Apache-2.0
-- Files that a rule needs beside the model: filters, statistics, patterns, trained gates. A rule names the file by its
-- parameter `path`; without one it is looked for under the cache, in artefacts/<model>/<rule>. Nothing is downloaded.
local ffi = require "ffi"
local core = require "kvbench.tensor.core"
local library = require "kvbench.ffi"
local paths = require "kvbench.paths"
local weights = require "kvbench.weights"

local M = {}

--- The folder of a model's artefacts for a rule.
function M.folder(model_name, rule) return ("%s/artefacts/%s/%s"):format(paths.cache(), model_name, rule) end

--- Path of a rule's file, or an error that says what is missing, where, and how to get it. wanted = {file = name inside
--- a folder, what = "filters", how = what makes or publishes it}.
function M.find(press, ctx, wanted)
  local name = ctx.model and ctx.model.name or "a context without a model"
  local parameter = press.rule.params.stats_folder and "stats_folder" or "path"
  local path = press.params[parameter] or M.folder(ctx.model and ctx.model.name or "none", press.rule.name)
  local kind = library.C.kvb_path_kind(path)
  if kind == 2 or kind == 0 and not press.params[parameter] then path = path .. "/" .. wanted.file end
  if library.C.kvb_path_kind(path) ~= 1 then
    error(("press '%s' needs %s of %s: there is no file '%s'\n-> %s; or %s = \"...\""):format(press.name, wanted.what,
      name, path, wanted.how, parameter), 0)
  end
  return path
end

local function wrong_shape(press, path, name, shape, expected)
  error(("press '%s': '%s' has %s of shape %s, this model needs %s -> take the file of this model"):format(press.name,
    path, name, core.show(shape), core.show(expected)), 0)
end

--- A rule's safetensors file, opened; what is wrong with it is told with the rule's name.
function M.open(press, path)
  local ok, file = pcall(weights.open, path)
  if ok then return file end
  local message, hint = file:match "^(.-)\n%->(.*)$"
  local cut = hint and hint:find "fetch it again"
  error(("press '%s': %s\n->%s"):format(press.name, message or file, cut and hint or " expected a safetensors file"), 0)
end

--- Tensors of a safetensors file by name: {name = shape that the model needs (-1: any size)}. A tensor of another shape
--- or an absent one is an error.
function M.tensors(press, path, expected)
  local file, out, names = M.open(press, path), {}, {}
  for name in pairs(expected) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local shape = expected[name]
    if not file:info(name) then
      error(("press '%s': '%s' has no tensor '%s' -> take the file that belongs to this press"):format(press.name, path,
        name), 0)
    end
    local values, info = file:floats(name)
    local fits = #info.shape == #shape
    for i = 1, #shape do fits = fits and (shape[i] == -1 or shape[i] == info.shape[i]) end
    if not fits then wrong_shape(press, path, name, info.shape, shape) end
    local read = core.new(info.shape, "f32", "cpu", true)
    ffi.copy(read.data, values, 4 * info.elements)
    local largest = info.elements > 0 and read:max() or 0
    if largest ~= largest then
      error(("press '%s': '%s' has NaN in %s -> fetch it again"):format(press.name, path, name), 0)
    end
    out[name] = read:to(core.current())
  end
  file:close()
  return out
end

return M
