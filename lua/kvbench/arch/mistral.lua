-- SPDX-License-Identifier: Apache-2.0
-- Mistral 7B v0.2 and later (v0.1 attends through a sliding window, which is refused). GGUF files of it say "llama".
-- Source: arXiv:2310.06825; configuration as in transformers' MistralConfig.
return require("kvbench.model.family").define {
  name = "mistral",
  doc = "the LLaMA layout with its own defaults; full attention only",
  model_types = { "mistral" },
  hf_defaults = { kv_heads = 8, sliding_window = 4096 },
}
