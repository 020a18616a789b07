# SPDX-License-Identifier: Apache-2.0
"""Writes gemma_scale.json: what transformers computes for the tiny Gemma 3 of models/gemma3 when its attention scale is
not 1 / sqrt(head_dim) (query_pre_attn_scalar 100 instead of 32), in f32 on a CPU.

  logits    [9, vocab] of the question behind the context
  snapkv    {layer: scores [context - 16]}: mean over the last 16 queries and the 4 heads of the attention weights that
            transformers returns, averaged over 5 neighbours (zeros beyond the ends)
  expected  {layer: scores [context - 4]}: expected attention without value norms over the 8 positions behind the
            context, with that scale: softmax of s m'R'k + s^2 k'RCR'k / 2 over the keys, mean over heads

usage: python make_gemma_scale.py   (torch, transformers 5)
"""
import json
import os

import torch
from transformers import AutoConfig, Gemma3ForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "models", "gemma3")
config = AutoConfig.from_pretrained(folder)
config.query_pre_attn_scalar = 100
config._attn_implementation = "eager"
model = Gemma3ForCausalLM.from_pretrained(folder, config=config, torch_dtype=torch.float32).eval()
N, FUTURE = 60, 8
ids = [(i * 37) % 120 + 3 for i in range(1, N + 1)]
question = [(i * 53) % 120 + 3 for i in range(1, 10)]
scale = 100 ** -0.5

queries = {}


def hook(layer):
    def fn(module, args, output):
        queries[layer] = output.detach()  # after q_norm, before RoPE: [1, heads, n, d]
    return fn


for l in (2, 4):
    model.model.layers[l].self_attn.q_norm.register_forward_hook(hook(l))
with torch.no_grad():
    logits = model(torch.tensor([ids + question])).logits[0, N:]
    out = model(torch.tensor([ids]), output_attentions=True, use_cache=True)
    rotary = model.model.rotary_emb
    x = torch.zeros(1, 1, 1)
    position = torch.arange(N, N + FUTURE)[None]
    cos, sin = rotary(x, position, "full_attention")
cos, sin = cos[0].double().mean(0), sin[0].double().mean(0)


def mean_rotation():
    d = cos.numel()
    r = torch.diag(cos)
    for i in range(d // 2):
        r[i, i + d // 2] -= sin[i]
        r[i + d // 2, i] += sin[i + d // 2]
    return r


R = mean_rotation()
result = {"scalar": 100, "logits": [[round(float(v), 6) for v in row] for row in logits], "snapkv": {}, "expected": {}}
for l in (2, 4):
    weights = out.attentions[l][0].double()  # [heads, N, N]
    received = weights[:, -16:, : N - 16].mean(dim=(0, 1))
    pooled = torch.nn.functional.avg_pool1d(received[None, None], 5, 1, 2)[0, 0]
    result["snapkv"][l] = [float("%.8g" % v) for v in pooled]
    keys = out.past_key_values.layers[l].keys[0, 0].double()[4:]
    total = 0
    for h in range(4):
        q = queries[l][0, h].double()[4:]
        m, c = q.mean(0), torch.cov(q.T, correction=0)
        rk = keys @ R  # rows (R' k)'
        e = scale * rk @ m + scale * scale / 2 * ((rk @ c) * rk).sum(-1)
        total = total + e.softmax(0) / 4
    result["expected"][l] = [float("%.8g" % v) for v in total]
with open(os.path.join(here, "gemma_scale.json"), "w") as f:
    json.dump(result, f)
    f.write("\n")
