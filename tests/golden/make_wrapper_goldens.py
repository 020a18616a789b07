#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds to tests/golden/models what KVPress 0.5.5 does with its wrappers and with the presses that change keys or
values: press-<name>-<ratio>.safetensors as make_models.py writes them (see models/README.md), on the models that lie
there.

    python3 make_wrapper_goldens.py MODELS_DIR [name ...]

`kept` is missing where the reference rewrites keys and composes rules; `logits` and `answer` are missing where it
cannot go on from its own set (layers of several lengths). Needs what make_models.py needs.
"""
import contextlib, json, os, sys
import torch
from kvpress import (AdaKVPress, CAMPress, CompressionRatioDecodingPress, DecodingPress, DMSPress, PrefillDecodingPress,
    TOVAPress, BlockPress, ChunkKVPress, ComposedPress, CriticalAdaKVPress, CriticalKVPress,
                     ExpectedAttentionPress, FinchPress, KeyDiffPress, KeyRerotationPress, KnormPress, KVComposePress,
                     MergingPress, PerLayerCompressionPress, SnapKVPress, ThinKPress)
from kvpress.presses.base_press import BasePress
from transformers import AutoModelForCausalLM, DynamicCache
from make_models import EA, SEED, TOKENS, ids_of, save

SNAP = dict(press="snapkv", window_size=8, kernel_size=5)
NOV = dict(EA, use_vnorm=False)
KNORM, KEYDIFF = dict(press="knorm"), dict(press="keydiff")


def snap(r):
    return SnapKVPress(r, window_size=8)


def nov(r):
    return ExpectedAttentionPress(r, use_vnorm=False)


def finch(r, **kw):
    press = FinchPress(compression_ratio=r, **kw)
    press.window_size = 9
    return press


# name -> (the reference's object, the same rule as data)
PRESSES = {
    "criticalkv_ea": (lambda r: CriticalKVPress(nov(r)), dict(press="criticalkv", of=NOV, epsilon=1e-4,
        first_stage_ratio=0.5)),
    "criticalkv_knorm": (lambda r: CriticalKVPress(KnormPress(r), first_stage_ratio=0.2),
                         dict(press="criticalkv", of=KNORM, first_stage_ratio=0.2)),
    "adakv_criticalkv": (lambda r: AdaKVPress(CriticalKVPress(nov(r))),
                         dict(press="adakv", of=dict(press="criticalkv", of=NOV), alpha_safeguard=0.2)),
    "criticaladakv_ea": (lambda r: CriticalAdaKVPress(nov(r)),
                         dict(press="criticaladakv", of=NOV, alpha_safeguard=0.2, epsilon=1e-4, first_stage_ratio=0.5)),
    "chunkkv_snapkv": (lambda r: ChunkKVPress(snap(r), chunk_length=6), dict(press="chunkkv", of=SNAP, chunk_length=6)),
    "block_keydiff": (lambda r: BlockPress(KeyDiffPress(r), block_size=9),
        dict(press="block", of=KEYDIFF, block_size=9)),
    "composed_keydiff_snapkv": (lambda r: ComposedPress([KeyDiffPress(r / 2), snap(r / 3)]), dict(
        press="composed", of=[dict(KEYDIFF, ratio="ratio/2"), dict(SNAP, ratio="ratio/3")])),
    "composed_snapkv_think": (lambda r: ComposedPress([snap(r / 2), ThinKPress(r / 2, window_size=8)]), dict(
        press="composed", of=[dict(SNAP, ratio="ratio/2"), dict(press="think", window_size=8, ratio="ratio/2")])),
    "composed_merging_keydiff": (lambda r: ComposedPress([MergingPress(KnormPress(r / 2)), KeyDiffPress(r / 2)]), dict(
        press="composed", of=[dict(press="merging", of=KNORM, ratio="ratio/2"), dict(KEYDIFF, ratio="ratio/2")])),
    "think8": (lambda r: ThinKPress(r, window_size=8), dict(press="think", window_size=8)),
    "key_rerotation_snapkv": (lambda r: KeyRerotationPress(snap(r)), dict(press="key_rerotation", of=SNAP)),
    "finch": (lambda r: finch(r), dict(press="finch", window_size=9)),
    "finch_plain": (lambda r: finch(r, normalize_scores=False, rerotate_keys=False),
                    dict(press="finch", window_size=9, normalize_scores=False, rerotate_keys=False)),
    "finch_chunk": (lambda r: finch(r, chunk_length=35), dict(press="finch", window_size=9, chunk_length=35)),
    "merging_keydiff": (lambda r: MergingPress(KeyDiffPress(r), similarity_threshold=0.2, merge_fraction=0.6), dict(
        press="merging", of=KEYDIFF, similarity_threshold=0.2, merge_fraction=0.6)),
    "kvcompose": (lambda r: KVComposePress(compression_ratio=r), dict(press="kvcompose")),
    "kvcompose_max": (lambda r: KVComposePress(compression_ratio=r, agg_group="max", agg_head="max",
                                               add_mean_across_heads=False, keep_token_lower_bound=3),
                       dict(press="kvcompose", agg_group="max", agg_head="max",
                            add_mean_across_heads=False, keep_token_lower_bound=3)),
    "kvcompose_unstructured": (lambda r: KVComposePress(structured=False, compression_ratio=r),
                               dict(press="kvcompose", structured=False)),
    "per_layer_knorm": (lambda r: PerLayerCompressionPress(KnormPress(), [r / 2, 3 * r / 2]),
                        lambda r: dict(press="per_layer", of=KNORM, compression_ratios=[r / 2, 3 * r / 2])),
}
# budgets below the window are left out: among tied scores the reference's choice is arbitrary
RATIOS = {"per_layer_knorm": (0.2, 0.5), "finch_chunk": (0.1, 0.5), "finch": (0.5, 0.8), "finch_plain": (0.5, 0.8),
          "key_rerotation_snapkv": (0.5, 0.8), "merging_keydiff": (0.5,)}
MOVES = ("key_rerotation_snapkv", "finch", "finch_chunk")  # the question starts behind the survivors
EAGER = ("kvcompose", "kvcompose_max", "kvcompose_unstructured")
FAMILIES = {"composed_merging_keydiff": ["llama"], "per_layer_knorm": ["llama"], "finch_chunk": ["llama"]}


def watch(press, heads, kept):
    """Records in kept[layer] which of the old values are among the new (values identify tokens even when keys move)."""
    compress = press.compress

    def spy(module, hidden, keys, values, attention, kwargs):
        before = values.clone()
        scores = {}
        for inner in (press, getattr(press, "press", None)):
            if inner is not None and isinstance(press, (MergingPress,)):
                original = inner.score if hasattr(inner, "score") else None
                if original:
                    def spied(*a, _o=original, **kw):
                        scores["s"] = _o(*a, **kw)
                        return scores["s"]
                    inner.score = spied
        k, v = compress(module, hidden, keys, values, attention, kwargs)
        if "s" in scores:  # merged values are new: the survivors are those of the rule inside
            top = scores["s"][0].topk(k.shape[2], dim=-1).indices
            mask = torch.zeros(heads, TOKENS, dtype=torch.bool).scatter(1, top, True)
        else:
            mask = (before[0][:, :, None] == v[0][:, None]).all(-1).any(2)
        gone = getattr(module, "masked_key_indices", None)
        if gone is not None:
            mask[gone[1], gone[2]] = False
        kept[module.layer_idx] = mask
        return k, v

    press.compress = spy


@torch.no_grad()
def golden(model, name, press, question=8, new=12):
    model.set_attn_implementation("eager" if name in EAGER else "sdpa")
    ids, q = ids_of(TOKENS, SEED + 200), ids_of(question, SEED + 201)
    layers, heads = model.config.num_hidden_layers, model.config.num_key_value_heads
    kept = [None] * layers
    cache = DynamicCache()
    if isinstance(press, KVComposePress):
        masks = press.prepare_important_masks

        def spy():
            masks()
            for l in range(layers):
                kept[l] = torch.stack(press.important_mask_per_kv_head[l])
        press.prepare_important_masks = spy
    elif isinstance(press, PerLayerCompressionPress):
        watch(press.press, heads, kept)
    elif not isinstance(press, ComposedPress):
        watch(press, heads, kept)
    with (BasePress.__call__(press, model) if isinstance(press, FinchPress) else press(model)):
        model.model(input_ids=ids, past_key_values=cache)
    g = {"ids": ids[0].int()}
    if name != "think8" and all(k is not None for k in kept):
        g["kept"] = torch.stack(kept).to(torch.uint8)
    lengths = {x.keys.shape[2] for x in cache.layers}
    if len(lengths) == 1 and name not in EAGER:
        start = cache.get_seq_length() if name in MOVES else TOKENS
        at = torch.arange(start, start + question)[None]
        out = model(input_ids=q, past_key_values=cache, position_ids=at)
        g["logits"], answer = out.logits[0], [int(out.logits[0, -1].argmax())]
        for i in range(new - 1):
            out = model(input_ids=torch.tensor([answer[-1:]]), past_key_values=cache, position_ids=at[:, -1:] + 1 + i)
            answer.append(int(out.logits[0, -1].argmax()))
        g["answer"], g["question"] = torch.tensor(answer, dtype=torch.int32), q[0].int()
    for layer in model.model.layers:
        layer.self_attn.masked_key_indices = None
    return g


# name -> (the reference's object, the same rule as data); eviction while 24 tokens are written
DECODING = {
    "decoding_knorm": (lambda r: DecodingPress(KnormPress(), compression_interval=3, target_size=40),
                       dict(press="decoding", of=KNORM, compression_interval=3, target_size=40)),
    "decoding_keydiff": (lambda r: DecodingPress(KeyDiffPress(), compression_interval=5, target_size=12),
                         dict(press="decoding", of=KEYDIFF, compression_interval=5, target_size=12)),
    "decoding_tova": (lambda r: DecodingPress(TOVAPress(), compression_interval=1, target_size=20),
                      dict(press="decoding", of=dict(press="tova"), compression_interval=1, target_size=20)),
    "decoding_small": (lambda r: DecodingPress(KnormPress(), compression_interval=100, target_size=6),
                       dict(press="decoding", of=KNORM, compression_interval=100, target_size=6)),
    "ratio_decoding_keydiff": (lambda r: CompressionRatioDecodingPress(KeyDiffPress(), compression_interval=4,
        target_compression_ratio=r),
                             dict(press="ratio_decoding", of=KEYDIFF, compression_interval=4,
                                 target_compression_ratio="ratio")),
    "dms_decoding": (lambda r: DMSPress(KnormPress(), threshold=-6.0, sliding_window_size=9, decoding=True),
                     dict(press="dms", of=KNORM, threshold=-6.0, sliding_window_size=9, decoding=True)),
    "prefill_decoding": (lambda r: PrefillDecodingPress(snap(r),
        DecodingPress(KeyDiffPress(), compression_interval=4, target_size=25)),
                         dict(press="prefill_decoding", prefilling_press=SNAP,
                              decoding_press=dict(press="decoding", of=KEYDIFF, compression_interval=4,
                                  target_size=25))),
}


# CaM draws; here a token merges from probability .5 on, as with sampling = false
torch.bernoulli = lambda p: (p >= 0.5).float()
for name, of, make, kw in (("cam_knorm", KNORM, KnormPress, dict(compression_interval=4, target_size=30,
    merge_budget=3)),
                           ("cam_keydiff", KEYDIFF, KeyDiffPress, dict(compression_interval=1, target_size=50))):
    DECODING[name] = (lambda r, make=make, kw=kw: CAMPress(make(), **kw),
        dict(press="cam", of=of, sampling=False, **kw))


@torch.no_grad()
def decoding_golden(model, press, question=8, new=24):
    model.set_attn_implementation("sdpa")
    ids, q = ids_of(TOKENS, SEED + 200), ids_of(question, SEED + 201)
    cache, answer, margins, largest = DynamicCache(), [], [], 0

    def feed(tokens, at):
        nonlocal largest
        logits = model(input_ids=tokens, past_key_values=cache, position_ids=at).logits[0, -1]
        best = logits.topk(2)
        answer.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        largest = max(largest, float(logits.abs().max()))

    with contextlib.nullcontext() if isinstance(press, DecodingPress) else press(model):
        model.model(input_ids=ids, past_key_values=cache)
    with press(model):
        feed(q, torch.arange(TOKENS, TOKENS + question)[None])
        for i in range(new - 1):
            feed(torch.tensor([answer[-1:]]), torch.tensor([[TOKENS + question + i]]))
    return {"ids": ids[0].int(), "question": q[0].int(), "answer": torch.tensor(answer, dtype=torch.int32),
            "margins": torch.tensor(margins), "largest": torch.tensor([largest])}


def main():
    wanted = sys.argv[2:] or list(PRESSES) + list(DECODING)
    for family in ("llama", "qwen3", "mistral"):
        folder = os.path.join(sys.argv[1], family)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for name in wanted:
            if name == "cam_knorm" and family == "qwen3":
                continue  # its k_norm leaves key norms close together; from token 21 on one choice falls the other way
            if name in DECODING:
                make, spec = DECODING[name]
                try:
                    g = decoding_golden(model, make(0.5))
                except ValueError as reason:  # no key that draws no attention was found
                    print(family, name, "the reference raised:", repr(reason)[:120])
                    continue
                save(g, os.path.join(folder, f"press-{name}-0.5.safetensors"), press=json.dumps(spec), ratio="0.5")
                continue
            make, spec = PRESSES[name]
            for ratio in RATIOS.get(name, (0.5, 0.9) if family == "llama" else (0.5,)):
                if family not in FAMILIES.get(name, [family]):
                    continue
                try:
                    g = golden(model, name, make(ratio))
                except Exception as reason:
                    print(family, name, ratio, "the reference raised:", repr(reason)[:120])
                    continue
                data = spec(ratio) if callable(spec) else spec
                save(g, os.path.join(folder, f"press-{name}-{ratio:g}.safetensors"), press=json.dumps(data),
                    ratio=f"{ratio:g}")
                print(family, name, ratio, sorted(g), g["kept"].sum(-1).tolist() if "kept" in g else "")


if __name__ == "__main__":
    main()
