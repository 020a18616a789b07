-- SPDX-License-Identifier: Apache-2.0
-- From what a user calls a model to where it lies: names of the models that scripts/fetch_model.sh knows, files,
-- folders.
local C = require("kvbench.ffi").C
local paths = require "kvbench.paths"
local text = require "kvbench.text"

local M = {}

--- Registry names: the file in the cache folder, what it is, and the command that fetches it.
M.models = {
  smollm2 = { file = "SmolLM2-135M-Instruct.Q4_1.gguf", doc = "SmolLM2-135M-Instruct, Q4_1: the default model",
    fetch = "make setup" },
  ["gemma3-270m"] = { file = "gemma-3-270m-q4_k_m.gguf", doc = "Gemma 3 270M (base), Q4_K_M: the second model",
    fetch = "scripts/fetch_model.sh gemma3-270m" },
}

--- Names, sorted.
function M.names()
  local names = {}
  for name in pairs(M.models) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function missing(name)
  local message = ("no model '%s': not a registry name, a file or a folder"):format(name)
  local near = text.nearest(name, M.names())
  if near then return ("%s -> did you mean '%s'?"):format(message, near) end
  return ("%s -> give %s, a .gguf file, or a Hugging Face model folder"):format(message, table.concat(M.names(), ", "))
end

--- Path and short name of a model. A registry name wins over a folder of that name: write "./smollm2" for the folder.
function M.resolve(name)
  if type(name) ~= "string" or name == "" or name:find("%z") then
    error(("a model is given by name or path, got %s -> \"smollm2\", a .gguf file, or a Hugging Face folder"):format(
      type(name) == "string" and "an empty text" or type(name)), 0)
  end
  local known = M.models[name]
  if known then
    local path = paths.cache() .. "/" .. known.file
    if C.kvb_path_kind(path) == 1 then return path, name end
    error(("model '%s' is not in the cache: no file '%s' -> run `%s`, or set KVBENCH_CACHE to where it lies")
      :format(name, path, known.fetch), 0)
  end
  if C.kvb_path_kind(name) == 0 then error(missing(name), 0) end
  local path = name:gsub("(.)/+$", "%1")
  local short = (path:match("[^/]+$") or path):gsub("%.gguf$", "")
  return path, short
end

return M
