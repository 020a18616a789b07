-- SPDX-License-Identifier: Apache-2.0
-- What experiment scripts take when nothing is said: passages a task, presses by short names, common options.
local M = {}

--- Passages per task at default size: small enough for two cores, large enough that intervals mean something; captions
-- say how many there were.
M.sizes = { base = 16, knowledge = 10, multi_presence = 6, multi_entity = 6, long_context = 4, coreference = 12,
  hops = 4 }

--- Presses under one word, for --presses: chunks without sinks of their own; chunks of KVPress' default length.
M.presses = {
  chunk_bare = { press = "chunk", of = { press = "ea", n_sink = 0 }, chunk_length = 64 },
  chunk_1024 = { press = "chunk", of = { press = "ea" }, chunk_length = 1024 },
}

--- Options that every script has, and their defaults.
M.common = {
  model = "smollm2", seed = "A", passages = 0, presses = { "ea", "adakv", "chunk", "random_sinks" }, ratios = "paper",
  evictable = "passage", style = "fewshot", idk_example = true, sweeps = "out/sweeps",
}

--- What --help says of them.
M.docs = {
  model = "registry name, .gguf file or folder", seed = "of data and random presses: A explores, B confirms",
  passages = "per task (0: the script's default)", ratios = "paper, cliff, or numbers", out = "folder of the results",
  presses = "names or files; chunk_bare = no sinks per chunk, chunk_1024 = KVPress' length",
  evictable = "passage, or context: prompt and examples compete too", sweeps = "folder of rows that scripts share",
}

return M
