-- SPDX-License-Identifier: Apache-2.0
-- Qwen3 (dense). q and k pass through an RMSNorm over head_dim before RoPE; head_dim is independent of hidden / heads.
-- Source: arXiv:2505.09388; configuration as in transformers' Qwen3Config.
return require("kvbench.model.family").define {
  name = "qwen3",
  doc = "the LLaMA layout with RMSNorm on queries and keys",
  model_types = { "qwen3" },
  architectures = { "qwen3" },
  qk_norm = true,
  hf_defaults = { kv_heads = 32, head_dim = 128, use_sliding_window = false },
}
