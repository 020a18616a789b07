#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The peer's time for the work of `kvbench bench sweep`: KVPress on the same model, same shapes, bf16, this machine's CPUs.

    python3 bench_kvpress.py MODEL.gguf [--passages 1] [--conditions 3] [--questions 6] [--context 281] [--threads 2]

As its own pipeline does: one prefill a (press, ratio), then the questions one after another, 15 tokens each, 24 new tokens,
end-of-text ignored. Prints one JSON object. Needs torch, transformers>=4.56,<5.3, kvpress==0.5.5, gguf.
"""
import argparse, contextlib, json, os, time
import torch
from kvpress import AdaKVPress, ChunkPress, ExpectedAttentionPress
from transformers import AutoModelForCausalLM, DynamicCache

p = argparse.ArgumentParser()
p.add_argument("model"); p.add_argument("--passages", type=int, default=1); p.add_argument("--conditions", type=int, default=3)
p.add_argument("--questions", type=int, default=6); p.add_argument("--context", type=int, default=281)
p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
a = p.parse_args()
torch.set_num_threads(a.threads)
folder, name = os.path.split(os.path.abspath(a.model))
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16).eval()
presses = [lambda r: ExpectedAttentionPress(compression_ratio=r), lambda r: AdaKVPress(ExpectedAttentionPress(compression_ratio=r, epsilon=1e-2)),
           lambda r: ChunkPress(ExpectedAttentionPress(compression_ratio=r), chunk_length=64)]
conditions = [None] + [make(r / 10) for r in (5, 1, 9, 3, 7, 2, 8, 4, 6) for make in presses]
gen = torch.Generator().manual_seed(1)


@torch.no_grad()
def continuation(cache, question, length):
    position = torch.arange(length, length + question.shape[1])[None]
    lengths = [layer.keys.shape[2] for layer in cache.layers]
    token = model(input_ids=question, past_key_values=cache, position_ids=position).logits[0, -1].argmax()
    for i in range(23):
        token = model(input_ids=token.view(1, 1), past_key_values=cache, position_ids=position[:, -1:] + 1 + i).logits[0, -1].argmax()
    for layer, n in zip(cache.layers, lengths):
        layer.keys, layer.values = layer.keys[:, :, :n], layer.values[:, :, :n]


@torch.no_grad()
def run(passages, conditions):
    count, start = 0, time.perf_counter()
    for _ in range(passages):
        ids = torch.randint(100, 49000, (1, a.context), generator=gen)
        for press in conditions:
            cache = DynamicCache()
            with press(model) if press else contextlib.nullcontext():
                model.model(input_ids=ids, past_key_values=cache)
            for _ in range(a.questions):
                continuation(cache, torch.randint(100, 49000, (1, 15), generator=gen), a.context)
                count += 1
            for layer in model.model.layers:
                layer.self_attn.masked_key_indices = None
    return count, time.perf_counter() - start


a.questions, full = 1, a.questions
run(1, conditions[:2])
a.questions = full
count, seconds = run(a.passages, conditions[:a.conditions])
print(json.dumps(dict(peer="KVPress 0.5.5", continuations=count, seconds=round(seconds, 2), seconds_per_continuation=round(seconds / count, 4),
                      threads=a.threads, dtype="bf16", context_tokens=a.context, torch=torch.__version__)))
