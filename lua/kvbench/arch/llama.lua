-- SPDX-License-Identifier: Apache-2.0
-- LLaMA 2, 3, 3.1, 3.2, SmolLM2 and others in that layout; in GGUF files also Mistral, which has no architecture of its
-- own there. Source: arXiv:2302.13971; configuration as in transformers' LlamaConfig.
return require("kvbench.model.family").define {
  name = "llama",
  doc = "RMSNorm, rotary attention with grouped KV heads, SwiGLU; llama3 and linear RoPE scaling",
  model_types = { "llama" },
  architectures = { "llama" },
  gguf_interleaved = true,
  hf_defaults = { kv_heads = "heads" },
}
