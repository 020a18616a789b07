#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Renders conversations with models' own chat templates, as transformers does, for tests/lua/chat_golden.json.

usage: make_chat_golden.py NAME=FILE ... > tests/lua/chat_golden.json
NAME: our template's name; FILE: a tokenizer_config.json, a .jinja file, or a .gguf's template saved as .jinja.
A template that refuses a conversation (no system role, say) gets no entry for it.
"""
import hashlib
import json
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

SYSTEM = {"role": "system", "content": "Answer in one word."}
ASK = {"role": "user", "content": "Read this:\nZoë's café opened in 1931.\nWhen did it open?"}
ANSWER = {"role": "assistant", "content": "1931"}
AGAIN = {"role": "user", "content": "Who owns it?"}
CONVERSATIONS = [
    ([ASK], True),
    ([SYSTEM, ASK], True),
    ([ASK, ANSWER, AGAIN], True),
    ([SYSTEM, ASK, ANSWER, AGAIN], True),
    ([ASK, ANSWER, AGAIN, {"role": "assistant", "content": "Zoë"}, ASK], True),
    ([{"role": "user", "content": "  blanks around \n\n"}], True),
    ([{"role": "system", "content": " blanks \n"}, {"role": "user", "content": "\ttab first"}], True),
    ([{"role": "user", "content": "{{ braces }} {% if %} \"quotes\" 'single' \\n <b>"}], True),
    ([ASK, ANSWER], False),
    ([ASK, {"role": "assistant", "content": "<think>\nIt says so.\n</think>\n\n1931"}, AGAIN], True),
    ([ASK, {"role": "assistant", "content": "<think>\nIt says so.\n</think>\n\n1931"}], False),
    ([{"role": "user", "content": ""}], True),
]
TOKENS = {"llama": ("<|begin_of_text|>", "<|eot_id|>"), "mistral": ("<s>", "</s>"), "gemma": ("<bos>", "<eos>")}


def refuse(message):
    raise ValueError(message)


def template_of(path):
    text = open(path, encoding="utf-8").read()
    return json.loads(text)["chat_template"] if path.endswith(".json") else text


def main():
    out = {}
    for argument in sys.argv[1:]:
        name, path = argument.split("=", 1)
        source = template_of(path)
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                    extensions=["jinja2.ext.loopcontrols"])
        environment.globals["raise_exception"] = refuse
        template = environment.from_string(source)
        bos, eos = next((v for k, v in TOKENS.items() if name.startswith(k)), ("", "<|im_end|>"))
        cases = []
        for date in ("26 Jul 2024", "03 Mar 2025") if name == "llama-3.2" else (None,):
            for messages, generation in CONVERSATIONS:
                values = {"date_string": date} if date else {}
                try:
                    text = template.render(messages=messages, add_generation_prompt=generation, bos_token=bos,
                                           eos_token=eos, enable_thinking=False, **values)
                except ValueError:
                    continue
                cases.append({"messages": messages, "generation": generation, "date": date, "text": text})
        out[name] = {"sha256": hashlib.sha256(source.encode()).hexdigest(), "cases": cases}
    json.dump(out, sys.stdout, ensure_ascii=False, indent=1, sort_keys=True)
    sys.stdout.write("\n")


main()
