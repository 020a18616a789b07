#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts a small tokenizer.json out of a real byte-level one: the bytes, the first merges, a few added tokens, new ids
in order.

    python3 make_small_tokenizer.py TOKENIZER.json OUT.json [--merges N] [--added N] [--pairs] [--set KEY=JSON ...]

--pairs writes merges as ["a", "b"], otherwise as "a b". --set replaces a top-level member (normalizer,
pre_tokenizer, ...); --set added+=JSON appends an added token without its id.
Pre-tokenizer, normalizer and flags are kept as they are.
"""
import argparse, json

p = argparse.ArgumentParser()
p.add_argument("tokenizer")
p.add_argument("out")
p.add_argument("--merges", type=int, default=1500)
p.add_argument("--added", type=int, default=6)
p.add_argument("--pairs", action="store_true")
p.add_argument("--set", action="append", default=[])
a = p.parse_args()

full = json.load(open(a.tokenizer))
model = full["model"]
names = dict.fromkeys(sorted((t for t in model["vocab"] if len(t) == 1), key=model["vocab"].get))
pairs = []
for merge in model["merges"]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    # files with ignore_merges list all splits of a token
    if left in names and right in names and len(pairs) < a.merges:
        names[left + right] = None
        pairs.append([left, right])
model["vocab"] = {t: i for i, t in enumerate(names)}
model["merges"] = pairs if a.pairs else [" ".join(m) for m in pairs]
added = full["added_tokens"][: a.added]
for text in a.set:
    key, value = text.split("=", 1)
    if key == "added+":
        added.append(dict(dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False),
            **json.loads(value)))
    else:
        full[key] = json.loads(value)
for i, token in enumerate(added):
    token["id"] = model["vocab"].get(token["content"], len(model["vocab"]) + i)
full["added_tokens"] = added
full["post_processor"] = None
json.dump(full, open(a.out, "w"), ensure_ascii=False, separators=(",", ":"))
