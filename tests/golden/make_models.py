#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/models: tiny random models in Hugging Face format, and what two public references compute on them
in float32 on the CPU: transformers for the forward pass, KVPress for the eviction rules.

    python3 make_models.py OUT_DIR [FAMILY...]

Needs: torch, transformers>=4.56,<5.3, kvpress==0.5.5. README.md in models/ describes the files.
"""
import contextlib, json, os, sys
import kvpress, torch, transformers
from kvpress import (AdaKVPress, ChunkPress, ExpectedAttentionPress, KnormPress, SnapKVPress, StreamingLLMPress)
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

VOCAB, TOKENS, SEED, RATIOS = 128, 70, 5, (0.1, 0.5, 0.9)
LLAMA3 = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64, rope_theta=500000.0)


def rope(theta):
    return dict(rope_type="default", rope_theta=theta)


def gemma(layers, window, **differs):
    bases = dict(full_attention=rope(1e6), sliding_attention=rope(1e4))
    return ("gemma3_text", dict(
        rope_parameters=bases, tie_word_embeddings=True, head_dim=32, num_hidden_layers=len(layers), sliding_window=window,
        layer_types=["full_attention" if x == "f" else "sliding_attention" for x in layers], **differs))


# family -> (transformers' name, what differs); weights are f32 in llama and bf16 elsewhere
FAMILIES = {
    "llama": ("llama", dict(rope_parameters=LLAMA3, tie_word_embeddings=False)),
    "llama_mha": ("llama", dict(rope_parameters=rope(1e4), tie_word_embeddings=True, num_key_value_heads=4)),
    "qwen2": ("qwen2", dict(rope_parameters=rope(1e6), tie_word_embeddings=True)),
    "qwen3": ("qwen3", dict(rope_parameters=rope(1e6), tie_word_embeddings=False, head_dim=32)),
    "mistral": ("mistral", dict(rope_parameters=rope(1e4), tie_word_embeddings=False, sliding_window=None,
        num_key_value_heads=1)),
    "gemma3": gemma("ssfsf", 24, query_pre_attn_scalar=32, num_key_value_heads=1),
    # two KV heads, a scale of its own, a width whose root is no whole number; not judged by presses, which assume the
    # scale
    "gemma3_scaled": gemma("sfs", 9, query_pre_attn_scalar=48, hidden_size=96, rms_norm_eps=1e-6),
}
EA = dict(press="expected_attention", n_future_positions=512, n_sink=4, use_covariance=True, use_vnorm=True,
    epsilon=0.0)
SNAP = dict(press="snapkv", window_size=16, kernel_size=5)
# name -> (the reference's object, the same rule as data)
PRESSES = {
    "knorm": (lambda r: KnormPress(r), dict(press="knorm")),
    "expected_attention": (lambda r: ExpectedAttentionPress(r), EA),
    "expected_attention_e2": (lambda r: ExpectedAttentionPress(r, epsilon=1e-2), dict(EA, epsilon=1e-2)),
    "expected_attention_nocov_novnorm": (lambda r: ExpectedAttentionPress(r, use_covariance=False, use_vnorm=False),
                                         dict(EA, use_covariance=False, use_vnorm=False)),
    "adakv_expected_attention_e2": (lambda r: AdaKVPress(ExpectedAttentionPress(r, epsilon=1e-2)),
                                    dict(press="adakv", of=dict(EA, epsilon=1e-2), alpha_safeguard=0.2)),
    "adakv_snapkv16": (lambda r: AdaKVPress(SnapKVPress(r, window_size=16)),
        dict(press="adakv", of=SNAP, alpha_safeguard=0.2)),
    "chunk64_expected_attention": (lambda r: ChunkPress(ExpectedAttentionPress(r), chunk_length=64),
                                   dict(press="chunk", of=EA, chunk_length=64)),
    "streaming_llm": (lambda r: StreamingLLMPress(r), dict(press="streaming_llm", n_sink=4)),
    "snapkv16": (lambda r: SnapKVPress(r, window_size=16), SNAP),
}


def build(family):
    kind, differs = FAMILIES[family]
    torch.manual_seed(SEED)
    config = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, max_position_embeddings=1024, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
    base = 0 if kind == "gemma3_text" else 1  # Gemma stores the weights of norms as differences from 1
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **dict(config, **differs))).float().eval()
    draw = torch.Generator().manual_seed(SEED)
    with torch.no_grad():  # wide enough that attention is peaked and no two scores tie
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=draw)
            if p.dim() == 1:
                p.copy_(base + 0.1 * noise if "norm" in name else 0.3 * noise)
            else:
                p.copy_(noise * (0.8 if "embed" in name else 1.6 / p.shape[-1] ** 0.5))
    if model.config.tie_word_embeddings:
        model.tie_weights()
    model.generation_config.eos_token_id = 2
    return model if family == "llama" else model.to(torch.bfloat16)


def ids_of(n, seed):  # distinct: equal ids would have equal keys in the first layer, and tied scores
    return torch.randperm(VOCAB - 3, generator=torch.Generator().manual_seed(seed))[None, :n] + 3


@torch.no_grad()
def forward_golden(model):
    # a cache made from the configuration would drop what leaves a window, so that layers differ in length
    slides = model.config.model_type == "gemma3_text"
    ids, cache = ids_of(TOKENS, SEED + 100), DynamicCache() if slides else DynamicCache(config=model.config)
    model.set_attn_implementation("eager")
    out = model(ids, past_key_values=cache, use_cache=True, output_hidden_states=True, output_attentions=True)
    greedy = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False)[0, TOKENS:]
    return {
        "ids": ids[0].int(), "logits": out.logits[0], "greedy": greedy.int(), "hidden": torch.stack([h[0] for h in out.hidden_states]),
        "keys": torch.stack([x.keys[0] for x in cache.layers]), "values": torch.stack([x.values[0] for x in cache.layers]),
        "attention_last16": torch.stack([a[0, :, -16:] for a in out.attentions]),
    }


@torch.no_grad()
def press_golden(model, press, question=8, new=12):
    model.set_attn_implementation("sdpa")
    ids, q = ids_of(TOKENS, SEED + 200), ids_of(question, SEED + 201)
    layers, heads = model.config.num_hidden_layers, model.config.num_key_value_heads
    kept, scores, compress = [None] * layers, [None] * layers, press.compress

    def spy(module, hidden, keys, values, attention, kwargs):
        before = keys.clone()
        k, v = compress(module, hidden, keys, values, attention, kwargs)
        mask = (before[0][:, :, None] == k[0][:, None]).all(-1).any(2)  # which of the old keys are among the new
        gone = getattr(module, "masked_key_indices", None)              # rules that mask instead of removing
        if gone is not None:
            mask[gone[1], gone[2]] = False
        kept[module.layer_idx] = mask
        return k, v

    press.compress = spy
    if hasattr(press, "score"):
        score = press.score

        def spy_score(module, *args, **kwargs):
            s = score(module, *args, **kwargs)
            scores[module.layer_idx] = s[0].float().clone()
            return s

        press.score = spy_score
    cache = DynamicCache()
    with press(model):
        model.model(input_ids=ids, past_key_values=cache)
    at = torch.arange(TOKENS, TOKENS + question)[None]
    out = model(input_ids=q, past_key_values=cache, position_ids=at)
    logits, answer = out.logits[0], [int(out.logits[0, -1].argmax())]
    for i in range(new - 1):
        out = model(input_ids=torch.tensor([answer[-1:]]), past_key_values=cache, position_ids=at[:, -1:] + 1 + i)
        answer.append(int(out.logits[0, -1].argmax()))
    for layer in model.model.layers:
        layer.self_attn.masked_key_indices = None
    g = {"ids": ids[0].int(), "question": q[0].int(), "logits": logits,
        "answer": torch.tensor(answer, dtype=torch.int32),
         "kept": torch.stack(kept).to(torch.uint8)}
    if all(s is not None and s.shape == (heads, TOKENS) for s in scores):
        g["scores"] = torch.stack(scores)
    return g


# ---- Gemma 3: only full layers are compressed. The reference would compress all of them, and build the masks of all
# layers from the length of the first; here the cache stays whole, KVPress says what it would keep, and masks are
# written out.

def evicting_attention(module, query, key, value, attention_mask, scaling, **_):
    """Attention in which the keys that module.evicted [kv_heads, TOKENS] names are masked."""
    mask = attention_mask.expand(-1, query.shape[1], -1, -1).clone()
    if module.evicted is not None:
        gone = module.evicted.repeat_interleave(module.num_key_value_groups, 0)
        mask[..., :TOKENS].masked_fill_(gone[None, :, None], float("-inf"))
    key, value = (x.repeat_interleave(module.num_key_value_groups, 1) for x in (key, value))
    weights = (query @ key.transpose(2, 3) * scaling + mask).softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def masks_of(model, first, rows):
    position, key = torch.arange(first, first + rows)[:, None], torch.arange(first + rows)[None]
    seen = {"full_attention": key <= position,
            "sliding_attention": (key <= position) & (key > position - model.config.sliding_window)}
    return {k: torch.zeros(1, 1, *s.shape).masked_fill(~s, float("-inf")) for k, s in seen.items()}


@contextlib.contextmanager
def told_layers(model):
    """KVPress asks a layer's rotary embedding without saying which kind of layer it is for."""
    rotary = model.model.rotary_emb
    forward = rotary.forward
    rotary.forward = lambda x, position_ids, layer_type="full_attention": forward(x, position_ids, layer_type)
    yield
    rotary.forward = forward


@torch.no_grad()
def gemma_golden(model, press, question=8, new=12):
    ids, q = ids_of(TOKENS, SEED + 200), ids_of(question, SEED + 201)
    config, compress = model.config, press.compress
    full = [i for i, kind in enumerate(config.layer_types) if kind == "full_attention"]
    kept, scores = [torch.ones(config.num_key_value_heads, TOKENS, dtype=torch.bool) for _ in config.layer_types], {}

    def spy(module, hidden, keys, values, attention, kwargs):
        if module.layer_idx in full:
            k, _ = compress(module, hidden, keys, values, attention, kwargs)
            mask = (keys[0][:, :, None] == k[0][:, None]).all(-1).any(2)
            gone = getattr(module, "masked_key_indices", None)
            if gone is not None:
                mask[gone[1], gone[2]] = False
            module.masked_key_indices = None
            kept[module.layer_idx] = mask
        return keys, values

    press.compress = spy
    if hasattr(press, "score"):
        score = press.score

        def spy_score(module, *args, **kwargs):
            s = score(module, *args, **kwargs)
            scores[module.layer_idx] = s[0].float().clone()
            return s

        press.score = spy_score
    model.set_attn_implementation("sdpa")
    cache = DynamicCache()
    with told_layers(model), press(model):
        model.model(input_ids=ids, past_key_values=cache)
    ALL_ATTENTION_FUNCTIONS.register("evicting", evicting_attention)
    model.set_attn_implementation("evicting")
    for layer, mask in zip(model.model.layers, kept):
        layer.self_attn.masked_key_indices = None
        layer.self_attn.evicted = None if mask.all() else ~mask

    def step(tokens, first):
        n = tokens.shape[1]
        return model(input_ids=tokens, past_key_values=cache, position_ids=torch.arange(first, first + n)[None],
                     attention_mask=masks_of(model, first, n)).logits[0]

    logits = step(q, TOKENS)
    answer = [int(logits[-1].argmax())]
    for i in range(new - 1):
        answer.append(int(step(torch.tensor([answer[-1:]]), TOKENS + question + i)[-1].argmax()))
    g = {"ids": ids[0].int(), "question": q[0].int(), "logits": logits,
        "answer": torch.tensor(answer, dtype=torch.int32),
         "kept": torch.stack(kept).to(torch.uint8)}
    if all(i in scores and scores[i].shape == (config.num_key_value_heads, TOKENS) for i in full):
        g["scores"] = torch.stack([scores.get(i, torch.zeros_like(scores[full[0]])) for i in range(len(kept))])
    return g


def save(tensors, path, **meta):
    versions = dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__, kvpress="0.5.5")
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=dict(versions, seed=str(SEED), **meta))


def main():
    for family in sys.argv[2:] or FAMILIES:
        folder = os.path.join(sys.argv[1], family)
        shards = dict(max_shard_size="60KB") if family == "qwen2" else {}
        build(family).save_pretrained(folder, **shards)
        # reloaded in f32: a cast of the model to bf16 and back would round its RoPE table
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        model.generation_config.eos_token_id = 2
        save(forward_golden(model), os.path.join(folder, "forward.safetensors"))
        if family == "gemma3_scaled":
            continue
        judge = gemma_golden if family == "gemma3" else press_golden
        for name, (make, spec) in PRESSES.items():
            for ratio in RATIOS:
                try:
                    golden = judge(model, make(ratio))
                # AdaKV in the reference needs keys that no query attends to; not always found
                except ValueError as reason:
                    print(family, name, ratio, "the reference raised:", reason)
                    continue
                save(golden, os.path.join(folder, f"press-{name}-{ratio:g}.safetensors"), press=json.dumps(spec),
                    ratio=f"{ratio:g}")


if __name__ == "__main__":
    main()
