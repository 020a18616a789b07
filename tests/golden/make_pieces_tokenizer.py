#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small tokenizers of SentencePiece's kind as Hugging Face files have them, and what the tokenizers library makes
of some texts: pieces (as Gemma's: Replace, a Split that cuts nothing, byte fallback), pieces_first (Metaspace with a
space in front of the first stretch), pieces_every (LLaMA 2's Prepend and Replace). Trained on the repository's LICENSE.

usage: python make_pieces_tokenizer.py   (tokenizers 0.22)
"""
import copy
import json
import os
import random
from tokenizers import Tokenizer, models, normalizers, trainers

here = os.path.dirname(os.path.abspath(__file__))
text = open(os.path.join(here, "..", "..", "LICENSE")).read()
text += " Überraschung naïve café déjà vu 日本語 の テキスト 你好 мир привет 123 45 6789\n\n\n   spaces    tabs\t\tend"
def base(vocab_size=700):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tr = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=["<pad>", "<eos>", "<bos>",
        "<unk>"] + [f"<0x{i:02X}>" for i in range(256)], limit_alphabet=80, max_token_length=12)
    tok.train_from_iterator([text[i:i+400] for i in range(0, len(text), 400)], tr)
    return json.loads(tok.to_str())
d = base()
# byte pieces are not added tokens
d['added_tokens'] = [t for t in d['added_tokens'] if not t['content'].startswith('<0x')]
def add(content, special):
    id = d['model']['vocab'].get(content)
    if id is None:
        id = max(list(d['model']['vocab'].values()) + [t['id'] for t in d['added_tokens']]) + 1
    d['added_tokens'].append(dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False,
        normalized=False, special=special))
add("<start_of_turn>", True); add("\n\n", False); add("<table>", False)
d['pre_tokenizer'] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
d['decoder'] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"}]}
d["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}},
    {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B",
    "type_id": 1}}], "special_tokens": {"<bos>": {"id": "<bos>", "ids": [d["model"]["vocab"]["<bos>"]],
    "tokens": ["<bos>"]}}}
out = os.path.join(here, 'tokenizer')
r = random.Random(7)
tests = ["", " ", "  ", "Hello world", " Hello  world ", "a\n\nb\n\n\nc", "<start_of_turn>user\nWho?<eos>", "x<table>y <table> z", "naïve café — 日本語 の 🙂", "▁literal▁", "\tTabs\t and   spaces   ", "emoji 👩‍👩‍👧 zero\u0000byte", "<0x41> looks like a byte", "the median of the distribution"]
tests += [text[i:i + r.randint(5, 160)] for i in [r.randrange(len(text) - 200) for _ in range(30)]]
pool = "ab \n▁<>é日🙂.the"
tests += ["".join(r.choice(pool) for _ in range(r.randint(1, 40))) for _ in range(40)]
def emit(name, spec):
    tok = Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))
    folder = f'{out}/{name}'
    os.makedirs(folder, exist_ok=True)
    json.dump(spec, open(f'{folder}/tokenizer.json', 'w'), ensure_ascii=False, separators=(',', ':'))
    with open(f'{out}/{name}.jsonl', 'w') as f:
        for t in tests:
            e = tok.encode(t, add_special_tokens=False)
            f.write(json.dumps(dict(text=t, ids=e.ids, decoded=tok.decode(e.ids, skip_special_tokens=False))) + '\n')
emit('pieces', d)
m = copy.deepcopy(d)
m['normalizer'] = None
m['pre_tokenizer'] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
m['decoder'] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
emit('pieces_first', m)
p = copy.deepcopy(d)
p['normalizer'] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
p['pre_tokenizer'] = None
emit('pieces_every', p)
