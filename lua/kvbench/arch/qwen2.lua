-- SPDX-License-Identifier: Apache-2.0
-- Qwen2 and Qwen2.5, tied or not. q, k and v have biases, o has none. GGUF files keep the rotate-half row order.
-- Source: arXiv:2407.10671; configuration as in transformers' Qwen2Config.
return require("kvbench.model.family").define {
  name = "qwen2",
  doc = "the LLaMA layout with biases on q, k and v",
  model_types = { "qwen2" },
  architectures = { "qwen2" },
  qkv_bias = true,
  hf_defaults = { kv_heads = 32, use_sliding_window = false },
}
