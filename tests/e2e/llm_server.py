#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint for tests: the path's first part says how it behaves. Prints its port, serves until killed.

good, slow, hang, fail (500 twice), limit (429 once), noise (no JSON, no choices, cut), repair (a fault, then good), stubborn
(the same fault for ever), auth (wants a key, repeats the headers), huge, redirect.
"""
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASSAGE = (
    "[[s:NAME_1]] is a rock band that [[r1:came together in the port town of]] [[f1:PLACE_1]] after a long "
    "winter of rehearsals in a rented barn. At first nobody outside the harbor had heard of it, and the early evenings were "
    "played to empty benches. [[s:The band]] [[r2:was founded by]] [[f2:PERSON_1]], a quiet carpenter who had never led "
    "anything before. Its first album [[r3:came out in]] [[f3:1987]] and surprised everybody who had laughed at the plan. "
    "[[s:The band]] [[r4:is signed to]] [[f4:ORG_1]], a small label that still answers every letter by hand. On the cover "
    "of each record one can see [[r5:the painted emblem of]] [[f5:a gray heron]], and few listeners remember why. [[s:The band]] "
    "[[r6:sold]] [[f6:132,000 copies]] of its best single, more than the whole town has inhabitants. Critics praised the "
    "patient rhythm and the dry humor of the words. Tours were rare, since most of the members had families and gardens to "
    "look after. To this day the rehearsals take place in the same barn, whose roof has been mended many times. Visitors are "
    "welcome as long as they bring something warm to drink."
)
FACTS = [("f1", "town", "Location", "PLACE_1"), ("f2", "founder", "Person", "PERSON_1"), ("f3", "year", "Date/Time", "1987"),
         ("f4", "label", "Organization", "ORG_1"), ("f5", "emblem", "Creature", "a gray heron"),
         ("f6", "sales", "Numerals", "132,000 copies")]
QUESTIONS = [
    ("In which town was NAME_1 formed?", "PLACE_1", ["f1"], [], "forward", "Location"),
    ("Who founded NAME_1?", "PERSON_1", ["f2"], [], "forward", "Person"),
    ("When did the first album of NAME_1 come out?", "1987", ["f3"], [], "forward", "Date/Time"),
    ("To which label is NAME_1 signed?", "ORG_1", ["f4"], [], "forward", "Organization"),
    ("Which band was founded by PERSON_1?", "NAME_1", ["name"], ["f2"], "reverse", "Organization"),
    ("Which band is signed to ORG_1?", "NAME_1", ["name"], ["f4"], "reverse", "Organization"),
]
seen = {}
lock = threading.Lock()


def record(passage=PASSAGE):
    return json.dumps({
        "subject": "NAME_1", "passage": passage,
        "facts": [dict(zip(("id", "relation", "type", "value"), fact)) for fact in FACTS],
        "questions": [{"q": q, "a": a, "facts": f, "cues": c, "direction": d, "answer_type": t,
                       "question_type": "standard"} for q, a, f, c, d, t in QUESTIONS]})


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, status, body, headers=()):
        data = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def say(self, content, usage=True):
        answer = {"choices": [{"message": {"role": "assistant", "content": content}}]}
        if usage:
            answer["usage"] = {"prompt_tokens": 700, "completion_tokens": 500}
        self.reply(200, json.dumps(answer))

    def do_POST(self):
        mode = self.path.split("/")[1]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = json.loads(body)
        with lock:
            seen[mode] = n = seen.get(mode, 0) + 1
        again = len(request["messages"]) > 2
        if not self.path.endswith("/chat/completions"):
            return self.reply(404, "no such path")
        if mode == "slow":
            time.sleep(0.3)
        if mode == "hang":
            time.sleep(3600)
        if mode == "fail" and n <= 2:
            return self.reply(500, "the engine is on fire")
        if mode == "limit" and n % 2 == 1:
            return self.reply(429, '{"error": "slow down"}', [("Retry-After", "1")])
        if mode == "noise" and n <= 3:
            return self.reply(200, ["<html>busy</html>", '{"choices": []}', '{"choices": [{"mess'][n - 1])
        if mode == "auth" and self.headers.get("Authorization") != "Bearer k-3y-of-the-test":
            return self.reply(401, "your headers: " + str(self.headers).replace("\n", " "))
        if mode == "huge":
            return self.reply(200, "x" * (17 << 20))
        if mode == "redirect":
            return self.reply(302, "", [("Location", "/good/v1/chat/completions")])
        if mode == "stubborn" or mode == "repair" and not again:
            return self.say("Sure! Here it is:\n```json\n" + record(PASSAGE.replace("[[f3:1987]]", "1987")) + "\n```")
        if mode == "real":
            return self.say(record(PASSAGE.replace("PLACE_1", "Hamburg")).replace("PLACE_1", "Hamburg"))
        return self.say("```json\n" + record() + "\n```", usage=mode != "slow")


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
