#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/presses: two tiny random models with a tokenizer, and what KVPress' rules decide on them, for the rules
that make_models.py leaves out. tests/golden/short/llama is its --tokens 13 --only snapkv8,pyramidkv8, without the tokenizer.

    python3 make_presses.py OUT_DIR [--seed N] [--tokens N] [--heads 6,2,16] [--ratios 0.6,0.9] [--only NAME,NAME]

Needs: torch, transformers>=4.56,<5.3, kvpress==0.5.5, peft. Scores and keep-sets are the reference's. Logits and answers are computed with
a true mask per layer and head instead of the reference's (fake keys, one mask for all layers): that also works where it raises.
Random numbers inside rules are replaced by kvbench's own generator, and files that rules would download by files made here.
"""
import argparse, contextlib, copy, importlib, json, os
import kvpress, numpy as np, peft, torch, transformers
from kvpress import *  # noqa: F403 - the rules are named below
from safetensors.torch import save_file
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedTokenizerFast

VOCAB = 101  # what the tokenizer knows
FAMILIES = {
    "llama": dict(num_hidden_layers=3, tie_word_embeddings=True, rope_parameters=dict(
        rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64, rope_theta=5e5)),
    "qwen3": dict(num_hidden_layers=2, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=1e6)),
}
CHATML = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")

# ---- kvbench's random numbers: SplitMix64 of a counter, from the hash of a text ----
M64, GAMMA = (1 << 64) - 1, 0x9E3779B97F4A7C15


def hash64(text):
    data = text.encode()
    h = GAMMA ^ (len(data) * 0xBF58476D1CE4E5B9 & M64)
    while len(data) >= 8:
        h = (h ^ int.from_bytes(data[:8], "little")) * 0xBF58476D1CE4E5B9 & M64
        h, data = h ^ h >> 29, data[8:]
    h = (h ^ int.from_bytes(data, "little")) * 0x94D049BB133111EB & M64
    h = (h ^ h >> 32) * GAMMA & M64
    return h ^ h >> 29


def uniform(text, first, n):
    with np.errstate(over="ignore"):
        z = np.uint64(hash64(text)) + (np.arange(first + 1, first + n + 1, dtype=np.uint64)) * np.uint64(GAMMA)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0 ** -24)


def randn(text, first, n):
    radius = np.sqrt(np.log(1 - uniform(text + "/r", first, n).astype(np.float64)) * -2)
    return (radius * np.cos(uniform(text + "/a", first, n).astype(np.float64) * 2 * np.pi)).astype(np.float32)


@contextlib.contextmanager
def kvbench_randn(text):
    drawn, real = [0], torch.randn

    def replacement(*shape, **_):
        n = int(np.prod(shape))
        out = torch.from_numpy(randn(text, drawn[0], n)).reshape(shape)
        drawn[0] += n
        return out

    torch.randn = replacement
    try:
        yield
    finally:
        torch.randn = real


# ---- files that rules read ----
def artefacts(folder, config, seed):
    layers, heads, kv, d, hidden = (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads,
                                    config.head_dim, config.hidden_size)
    draw = torch.Generator().manual_seed(seed + 7)
    new = lambda *shape: torch.randn(shape, generator=draw)  # noqa: E731
    root = new(layers, heads, d, d) * 0.4
    a = {"q_filters": new(layers, kv, d), "query_mean": new(layers, heads, d),
        "query_cov": root @ root.transpose(-1, -2),
         "curve": np.sort(np.random.default_rng(seed).random((99, layers, kv)), axis=0),
         "pattern": np.round(np.random.default_rng(seed + 1).random((layers, kv)), 6)}
    mlp, linear = {}, {}
    for i in range(layers):
        mlp.update({f"layers.{i}.0.weight": new(12, hidden) * 0.2, f"layers.{i}.0.bias": new(12),
                    f"layers.{i}.2.weight": new(kv, 12) * 0.5, f"layers.{i}.2.bias": new(kv)})
        linear.update({f"layers.{i}.weight": new(kv, hidden) * 0.2, f"layers.{i}.bias": new(kv)})
    a["mlp"], a["linear"] = mlp, linear
    for name in ("q_filters",):
        save_file({name: a[name]}, f"{folder}/q_filters.safetensors")
    save_file({k: a[k].contiguous() for k in ("query_mean", "query_cov")}, f"{folder}/query_stats.safetensors")
    save_file(mlp, f"{folder}/kvzap_mlp.safetensors")
    save_file(linear, f"{folder}/kvzap_linear.safetensors")
    np.save(f"{folder}/curve.npy", a["curve"])
    os.makedirs(f"{folder}/pattern", exist_ok=True)
    np.savetxt(f"{folder}/pattern/full_attention_heads.tsv", a["pattern"], delimiter="\t", fmt="%.6f")
    json.dump(dict(sink_size=3, recent_size=14), open(f"{folder}/pattern/config.json", "w"))
    return a


def gates(folder, config, seed):
    """Fast KVzip's gates with random weights, saved as the training script of its paper does (projections in bf16)."""
    module = importlib.import_module("kvpress.presses.fastkvzip_press")
    draw = torch.Generator().manual_seed(seed + 8)
    kv, out = config.num_key_value_heads, []
    for i in range(config.num_hidden_layers):
        gate = module.FastKVzipGate(i, config.hidden_size, kv, config.num_attention_heads // kv, torch.float32,
            output_dim=8, sink=5)
        with torch.no_grad():
            for name, p in gate.named_parameters():
                p.copy_(torch.randn(p.shape, generator=draw) * (0.3 if "proj" in name else 0.5) + (1 if "norm" in name else 0))
                if "proj" in name or name == "b":
                    p.copy_(p.bfloat16())
        out.append(gate)
    states = [g.state_dict() for g in out]
    for state in states:
        for k in state:
            state[k] = state[k].bfloat16() if "proj" in k or k == "b" else state[k]
    curve = np.random.default_rng(seed).random((3, config.num_hidden_layers))
    torch.save({"module": states, "loss": curve, "acc": curve, "loss_train": curve, "acc_train": curve},
        f"{folder}/gates.pt")
    return out


def restore_adapter(folder, model, seed):
    """Random restore tokens and a random LoRA on all projections, saved by PEFT as the published ones are."""
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=[f"{s}_proj" for s in ("q", "k", "v", "o", "gate", "up",
        "down")])
    adapted, draw = peft.get_peft_model(copy.deepcopy(model), config), torch.Generator().manual_seed(seed + 9)
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn(p.shape, generator=draw) * 0.3)
    adapted.save_pretrained(f"{folder}/restorekv")
    os.remove(f"{folder}/restorekv/README.md")
    tokens = torch.randn(5, model.config.hidden_size, generator=draw)
    save_file({"restore_embeddings": tokens}, f"{folder}/restorekv/restore_embeddings.safetensors")
    return tokens


def restore_press(a, r, **given):
    press, model = RestoreKVPress(r, **given), a["model"]
    if press.adapter_name not in getattr(model, "peft_config", {}):
        model.load_adapter(f"{a['folder']}/restorekv", adapter_name=press.adapter_name)
    model.disable_adapters()
    press.restore_embeddings = a["restore"]
    press.restore_model_name = f"higokri/RestoreKV-{os.path.basename(a['folder'])}" + ("_plus" if press.kvzip_plus_normalization else "")
    return press


def fastkvzip_press(a, r, **given):
    press = FastKVzipPress(r, **given)
    press.gates = a["gates"]
    return press


def module_of(press):
    return importlib.import_module(type(press).__module__)


def stats_press(a, r):
    press = ExpectedAttentionStatsPress(r, epsilon=1e-2)
    press.mu, press.cov = a["query_mean"], a["query_cov"]
    return press


def qfilter_press(a, r):
    press = QFilterPress(r)
    press.post_init_from_model = lambda model: setattr(press, "q_filters", a["q_filters"])
    return press


def kvzap_press(a, r, kind):
    module = importlib.import_module("kvpress.presses.kvzap_press")
    layers = len({k.split(".")[1] for k in a[kind]})
    kv = a["q_filters"].shape[1]
    config = module.KVzapConfig(input_dim=a["linear"]["layers.0.weight"].shape[1], output_dim=kv, n_modules=layers,
                                hidden_dim=12 if kind == "mlp" else None)
    model = module.KVzapModel(config)
    model.load_state_dict(a[kind])
    press = KVzapPress(r, model_type=kind)
    press.kvzap_model = model
    press.post_init_from_model = lambda _: None
    return press


def duo_press(a, r, on_the_fly):
    press, module = DuoAttentionPress(head_compression_ratio=r), importlib.import_module("kvpress.presses.duo_attention_press")

    def scores(model):
        if not on_the_fly:
            return 3, 14, a["pattern"]

        class Texts:
            to_pandas = sample = lambda self, *_, **__: self
            __getitem__ = lambda self, _: self
            tolist = lambda self: ["the context"]

        class Ids(dict):
            to = lambda self, _: self

        module.load_dataset = lambda *_, **__: Texts()
        module.AutoTokenizer = type("T", (), {"from_pretrained": staticmethod(
            lambda _: lambda text, return_tensors: Ids(input_ids=a["ids"]))})
        return 2, 9, module.duo_attention_on_the_fly.__wrapped__(model, num_samples=1, q_len=500)

    press.load_attention_pattern = scores
    return press


def lukv_press(a, r):
    press = LUKVPress(ExpectedAttentionPress(epsilon=2e-2), compression_ratio=r)
    press._load_budget_curves = lambda model: a["curve"]
    return press


SNAP = dict(press="snapkv", window_size=8, kernel_size=5)
EA = dict(press="expected_attention", epsilon=2e-2)
SIM = dict(press="simlayerkv", n_last=2, n_recent=20, n_initial=3)
CUR = dict(press="cur", num_sinks=4, local_window_size=16)
# name -> (constructor of (files, ratio), the same as data, text whose random numbers it draws, needs eager attention)
PRESSES = {
    "snapkv8": (lambda a, r: SnapKVPress(r, window_size=8), SNAP),
    "pyramidkv8": (lambda a, r: PyramidKVPress(r, window_size=8, beta=3), dict(SNAP, press="pyramidkv", beta=3)),
    "tova": (lambda a, r: TOVAPress(r), dict(press="tova")),
    "observed_attention": (lambda a, r: ObservedAttentionPress(r), dict(press="observed_attention"), None, True),
    "keydiff": (lambda a, r: KeyDiffPress(r), dict(press="keydiff")),
    "lagkv16": (lambda a, r: LagKVPress(r, lag_size=16), dict(press="lagkv", lag_size=16)),
    "lagkv16_cross": (lambda a, r: LagKVPress(r, lag_size=16, n_sink=3, cross_scoring=True),
                      dict(press="lagkv", lag_size=16, n_sink=3, cross_scoring=True)),
    "non_causal_attention32": (lambda a, r: NonCausalAttnPress(r, chunk_size=32),
        dict(press="non_causal_attention", chunk_size=32)),
    "cap": (lambda a, r: CapPress(r, n_future_positions=64), dict(press="cap", n_future_positions=64)),
    "cur": (lambda a, r: CURPress(r), dict(CUR)),
    "cur_avg": (lambda a, r: CURPress(r, leverage_type="kv_avg", use_local_approximation=False, num_sinks=2),
                dict(CUR, leverage_type="kv_avg", use_local_approximation=False, num_sinks=2)),
    "cur_random": (lambda a, r: CURPress(r, use_random_leverage=True), dict(CUR, use_random_leverage=True), "cur/0"),
    "simlayerkv": (lambda a, r: SimLayerKVPress(lazy_threshold=1 - r, n_last=2, n_recent=20, n_initial=3),
        dict(SIM, lazy_threshold="1-ratio")),
    "entropy_gated_chunkkv": (lambda a, r: EntropyGatedChunkKVPress(SnapKVPress(r, window_size=8)),
        dict(press="entropy_gated_chunkkv", of=SNAP)),
    "entropy_gated_chunkkv_keydiff": (lambda a, r: EntropyGatedChunkKVPress(KeyDiffPress(r), chunk_length=7,
        low_entropy_chunk_length=2),
                                      dict(press="entropy_gated_chunkkv", of=dict(press="keydiff"), chunk_length=7,
                                          low_entropy_chunk_length=2)),
    "leverage": (lambda a, r: LeverageScorePress(r, sketch_dimension=12), dict(press="leverage", sketch_dimension=12),
        "leverage/0"),
    "leverage48": (lambda a, r: LeverageScorePress(r), dict(press="leverage"), "leverage/0"),
    "compactor": (lambda a, r: CompactorPress(r, chunk_size=32, sketch_dimension=12, sink_size_start=3,
        sink_size_end=2),
                  dict(press="compactor", chunk_size=32, sketch_dimension=12, sink_size_start=3,
                      sink_size_end=2), "leverage/0"),
    "compactor_blended": (lambda a, r: CompactorPress(r, blending=0.35, sink_size_end=0, sink_size_start=3),
                          dict(press="compactor", blending=0.35, sink_size_end=0, sink_size_start=3), "leverage/0"),
    "expected_attention_stats": (stats_press, dict(press="expected_attention_stats", epsilon=1e-2,
        stats_folder="query_stats.safetensors")),
    "qfilter": (qfilter_press, dict(press="qfilter", path="q_filters.safetensors")),
    "kvzap_mlp": (lambda a, r: kvzap_press(a, r, "mlp"), dict(press="kvzap", path="kvzap_mlp.safetensors")),
    "kvzap_linear": (lambda a, r: kvzap_press(a, r, "linear"),
        dict(press="kvzap", model_type="linear", path="kvzap_linear.safetensors")),
    "dms_kvzap": (lambda a, r: DMSPress(kvzap_press(a, 0, "mlp"), threshold=r - 0.5, sliding_window_size=10),
                  dict(press="dms", of=dict(press="kvzap", path="kvzap_mlp.safetensors"), threshold="ratio-0.5",
                      sliding_window_size=10)),
    "duo_attention": (lambda a, r: duo_press(a, r, False), dict(press="duo_attention", head_compression_ratio="ratio",
        path="pattern")),
    "duo_attention_on_the_fly": (lambda a, r: duo_press(a, r, True),
                                 dict(press="duo_attention", head_compression_ratio="ratio", sink_size=2,
                                     recent_size=9)),
    "lukv": (lukv_press, dict(press="lukv", of=EA, path="curve.npy")),
    "kvzip": (lambda a, r: KVzipPress(r), dict(press="kvzip")),
    "kvzip_chunks": (lambda a, r: KVzipPress(r, chunk_size=30, layerwise=True, n_sink=2),
        dict(press="kvzip", chunk_size=30, layerwise=True, n_sink=2)),
    "kvzip_plus": (lambda a, r: KVzipPress(r, kvzip_plus_normalization=True),
        dict(press="kvzip", kvzip_plus_normalization=True)),
    "fastkvzip": (lambda a, r: fastkvzip_press(a, r), dict(press="fastkvzip", path="gates.pt")),
    "fastkvzip_layerwise": (lambda a, r: fastkvzip_press(a, r, layerwise=True, n_sink=2, window_ratio=0.1),
                            dict(press="fastkvzip", path="gates.pt", layerwise=True, n_sink=2, window_ratio=0.1)),
    "restorekv": (lambda a, r: restore_press(a, r), dict(press="restorekv", path="restorekv")),
    "restorekv_plus": (lambda a, r: restore_press(a, r, kvzip_plus_normalization=True, n_sink=2),
                       dict(press="restorekv_plus", n_sink=2, path="restorekv")),
    "kvzip_plus_chunks": (lambda a, r: KVzipPress(r, kvzip_plus_normalization=True, chunk_size=40),
        dict(press="kvzip", kvzip_plus_normalization=True, chunk_size=40)),
}

# ---- the models ----
def tokenizer_of(folder, chat):
    names = [chr(c) for c in range(33, 127)] + ["\u0120", "\u010a"]
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, **{c: i + 3 for i, c in enumerate(names)}}
    added = [dict(id=i, content=c, special=True) for c, i in vocab.items() if i < 3]
    added += [dict(id=99 + i, content=c, special=True) for i, c in enumerate(("<|im_start|>", "<|im_end|>"))]
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False)
    full = dict(version="1.0", truncation=None, padding=None, added_tokens=[dict(a, **flags) for a in added],
        normalizer=None,
                pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
                post_processor=None, decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True,
                    use_regex=True),
                model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                    end_of_word_suffix=None,
                           fuse_unk=False, byte_fallback=False, ignore_merges=False, vocab=vocab, merges=[]))
    json.dump(full, open(f"{folder}/tokenizer.json", "w"), ensure_ascii=False)
    config = dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        add_bos_token=False)
    if chat:
        config["chat_template"] = CHATML
    json.dump(config, open(f"{folder}/tokenizer_config.json", "w"))


def build(family, folder, heads, kv_heads, head_dim, seed):
    torch.manual_seed(seed)
    config = dict(vocab_size=VOCAB, hidden_size=48, intermediate_size=64, num_attention_heads=heads,
        num_key_value_heads=kv_heads,
                  head_dim=head_dim, max_position_embeddings=2048, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family,
        **dict(config, **FAMILIES[family]))).float().eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=draw)
            p.copy_(1 + 0.1 * noise if p.dim() == 1 else noise * (0.8 if "embed" in name else 1.6 / p.shape[-1] ** 0.5))
    if model.config.tie_word_embeddings:
        model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer_of(folder, chat=family == "qwen3")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.config.name_or_path = folder
    return model


def ids_of(model, tokens, seed):  # distinct, after the chat template's opening where there is one
    prefix = []
    if model.config.model_type == "qwen3":
        prefix = AutoTokenizer.from_pretrained(model.config.name_or_path).encode("<|im_start|>user\n",
            add_special_tokens=False)
    rest = [i for i in (torch.randperm(VOCAB - 3, generator=torch.Generator().manual_seed(seed)) + 3).tolist() if i not in prefix]
    return torch.tensor([(prefix + rest)[:tokens]])


state = {"kept": None}


def masked_attention(module, q, k, v, mask, scaling=None, dropout=0.0, **_):
    group = q.shape[1] // k.shape[1]
    n, rows = k.shape[2], q.shape[2]
    visible = (torch.arange(n)[None] <= torch.arange(n - rows, n)[:, None])[None].repeat(q.shape[1], 1, 1)
    if state["kept"] is not None:
        kept = state["kept"][module.layer_idx].bool().repeat_interleave(group, 0)
        visible[:, :, : kept.shape[-1]] &= kept[:, None]
    weights = (q @ k.repeat_interleave(group, 1).transpose(-1, -2) * scaling).masked_fill(~visible[None],
        -float("inf")).softmax(-1)
    return (weights @ v.repeat_interleave(group, 1)).transpose(1, 2).contiguous(), None


AttentionInterface.register("masked", masked_attention)


@torch.no_grad()
def decide(model, ids, press, eager):
    """kept [layers, kv_heads, T], scores or None, and the cache where the rule made it longer (kept is then, too)"""
    model.set_attn_implementation("eager" if eager else "sdpa")
    layers, heads, n = model.config.num_hidden_layers, model.config.num_key_value_heads, ids.shape[1]
    kept, scores = [torch.ones(heads, n, dtype=torch.bool)] * layers, [None] * layers
    if hasattr(press, "compress"):
        compress = press.compress

        def spy(module, hidden, keys, values, attention, kwargs):
            k, v = compress(module, hidden, keys, values, attention, kwargs)
            kept[module.layer_idx] = (keys[0][:, :, None] == k[0][:, None]).all(-1).any(2)
            return k, v

        press.compress = spy
    if isinstance(press, ScorerPress):
        score = press.score

        def spy_score(module, *args, **kwargs):
            s = score(module, *args, **kwargs)
            scores[module.layer_idx] = s[0].float().clone()
            return s

        press.score = spy_score
    if hasattr(press, "score_kvzip") or hasattr(press, "_score_fast"):
        post = press.compress_post

        def spy_post(m):
            post(m)
            scores[:] = [s[0].float().clone() for s in press.score_val]

        press.compress_post = spy_post
    cache = DynamicCache()
    with press(model):
        model.model(input_ids=ids, past_key_values=cache)
    more = max(0, cache.get_seq_length() - n)
    kept = [torch.cat([k, torch.ones(heads, more, dtype=torch.bool)], 1) for k in kept]
    for i, layer in enumerate(model.model.layers):
        gone = layer.self_attn.masked_key_indices
        if gone is not None:
            kept[i] = kept[i].clone()
            kept[i][gone[1], gone[2]] = False
        layer.self_attn.masked_key_indices = None
    full = all(s is not None and s.shape == (heads, n) for s in scores)
    return torch.stack(kept).to(torch.uint8), torch.stack(scores) if full else None, cache if more else None


@torch.no_grad()
def answer(model, ids, question, kept, cache=None, new=6):
    model.set_attn_implementation("masked")
    state["kept"] = None
    if cache is None:
        cache = DynamicCache()
        model.model(input_ids=ids, past_key_values=cache)
    n, state["kept"] = cache.get_seq_length(), kept
    at = torch.arange(n, n + question.shape[1])[None]
    out = model(input_ids=question, past_key_values=cache, position_ids=at)
    logits, said = out.logits[0], [int(out.logits[0, -1].argmax())]
    for i in range(new - 1):
        out = model(input_ids=torch.tensor([said[-1:]]), past_key_values=cache, position_ids=at[:, -1:] + 1 + i)
        said.append(int(out.logits[0, -1].argmax()))
    state["kept"] = None
    return logits, torch.tensor(said, dtype=torch.int32)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out"), p.add_argument("--seed", type=int, default=9), p.add_argument("--tokens", type=int,
        default=77)
    p.add_argument("--heads", default="6,2,16"), p.add_argument("--ratios", default="0.6,0.9"), p.add_argument("--only",
        default="")
    a = p.parse_args()
    wanted = a.only.split(",") if a.only else PRESSES
    for family in FAMILIES:
        folder = os.path.join(a.out, family)
        os.makedirs(folder, exist_ok=True)
        model = build(family, folder, *map(int, a.heads.split(",")), a.seed)
        files = artefacts(folder, model.config, a.seed)
        ids, question = ids_of(model, a.tokens, a.seed + 200), ids_of(model, 4, a.seed + 201)
        files["ids"], files["gates"] = ids, gates(folder, model.config, a.seed)
        files["restore"], files["folder"], files["model"] = restore_adapter(folder, model, a.seed), folder, model
        for name in wanted:
            make, spec, text, eager = (PRESSES[name] + (None, False))[:4]
            for ratio in map(float, a.ratios.split(",")):
                with kvbench_randn(text) if text else contextlib.nullcontext():
                    kept, scores, cache = decide(model, ids, make(files, ratio), eager)
                logits, said = answer(model, ids, question, kept, cache)
                g = {"ids": ids[0].int(), "question": question[0].int(), "kept": kept, "logits": logits, "answer": said}
                if scores is not None:
                    g["scores"] = scores
                meta = dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__,
                    kvpress="0.5.5", seed=str(a.seed))
                save_file({k: v.contiguous() for k, v in g.items()}, f"{folder}/press-{name}-{ratio:g}.safetensors",
                          metadata=dict(meta, press=json.dumps(spec), ratio=f"{ratio:g}"))
                print(family, name, ratio, "kept of each head", kept.sum(-1).tolist())


if __name__ == "__main__":
    main()
