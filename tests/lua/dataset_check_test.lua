-- SPDX-License-Identifier: Apache-2.0
-- The validator: each kind of broken record, made by breaking a good one in one way, comes back with its own reason and
-- the field it is about; each kind of broken line leaves the good lines around it usable.
local t = require "kvbench.testing"
local dataset = require "kvbench.dataset"
local read = require "kvbench.dataset.read"

local function copy(v)
  if type(v) ~= "table" then return v end
  local c = {}
  for k, x in pairs(v) do c[k] = copy(x) end
  return c
end

-- Each entry: what is broken, how, the reason that has to come back (a pattern), and the field it must name.
local function first_question(record, match)
  for i, q in ipairs(record.questions) do if match(q) then return q, i end end
end
local function standard(q) return q.question_type == "standard" and q.direction == "forward" end

local broken = {
  -- bytes
  { "not UTF%-8", function(r) r.passage = r.passage .. "\xff\xfe" end, "not valid UTF%-8: byte 0xFF", "passage" },
  { "overlong UTF-8", function(r) r.passage = r.passage .. "\xc0\xaf" end, "not valid UTF%-8: byte 0xC0", "passage" },
  { "Latin-1 in an answer", function(r) r.questions[2].a = "caf\xe9" end, "byte 0xE9 at offset 3.*iconv",
    "questions[2].a" },
  { "encoded twice", function(r) r.passage = r.passage .. " Caf\195\131\194\169." end, "encoded twice", "passage" },
  { "replacement character", function(r) r.facts[2].value = "a\239\191\189b" end, "U%+FFFD at offset 1",
    "facts[2].value" },
  { "control character", function(r) r.passage = r.passage .. "\0" end, "control character 0x00", "passage" },
  -- shape
  { "no passage", function(r) r.passage = nil end, "is missing, not a text", "passage" },
  { "passage is a number", function(r) r.passage = 7 end, "is a number, not a text", "passage" },
  { "passage is null", function(r) r.passage = require("kvbench.json").null end, "is null, not a text", "passage" },
  { "no id", function(r) r.id = "" end, "no id", "id" },
  { "facts is an object", function(r) r.facts = { f1 = r.facts[1] } end, "is an object, not a list", "facts" },
  { "questions is a text", function(r) r.questions = "none" end, "is a string, not a list", "questions" },
  { "a question is a text", function(r) r.questions[3] = "Why?" end, "is a string, not an object", "questions[3]" },
  { "a fact is a number", function(r) r.facts[2] = 4 end, "is a number, not an object", "facts[2]" },
  { "aliases is a text", function(r) r.questions[1].aliases = "x" end, "is a string, not a list",
    "questions[1].aliases" },
  { "an alias is a number", function(r) r.questions[1].aliases = { "x", 2 } end, "is a number, not a text",
    "questions[1].aliases[2]" },
  { "a mention is a text", function(r) r.facts[2].mentions = { "here" } end, "not an object", "facts[2].mentions[1]" },
  { "hop is half", function(r) r.questions[2].hop = 0.5 end, "not a whole number", "questions[2].hop" },
  { "hop is negative", function(r) r.questions[1].hop = -1 end, "hop and depth count from 0, got %-1",
    "questions[1].hop" },
  { "answerable missing", function(r) r.questions[1].answerable = nil end, "true or false", "questions[1].answerable" },
  { "answerable is a text", function(r) r.questions[1].answerable = "yes" end, "is a string, not true or false",
    "questions[1].answerable" },
  -- passage and counts
  { "no passage text", function(r) r.passage = "" end, "no passage", "passage" },
  { "template slot left", function(r) r.passage = r.passage .. " The {kind}." end, "unfilled template slot '{kind}'",
    "passage" },
  { "too big", function(r) r.passage = r.passage .. (" word"):rep(20000) end, "more than 65536", "passage" },
  { "too long", function(r) r.passage = r.passage .. (" word"):rep(60) end, "words, expected 150 to 200", "passage" },
  { "too short", function(r) r.passage = "Short." end, "has 1 words, expected", "passage" },
  { "question missing", function(r) for _ = 1, 3 do table.remove(r.questions) end end,
    "3 questions, expected 5 to 6", "questions" },
  { "too few attributes", function(r)
      r.facts = { r.facts[1], r.facts[2], r.facts[3] }
    end, "2 attributes, at least 4", "facts" },
  -- facts
  { "fact id twice", function(r) r.facts[3].id = r.facts[2].id end, "fact id 'f2' is used twice", "facts[3].id" },
  { "fact without an id", function(r) r.facts[3].id = "" end, "has no id", "facts[3].id" },
  { "fact without a value", function(r) r.facts[3].value = "" end, "has no value", "facts[3].value" },
  { "span backwards", function(r) r.facts[2].mentions[1].value = { 9, 4 } end, "not a span",
    "facts[2].mentions[1].value" },
  { "span not a number", function(r) r.facts[2].mentions[1].value = { "1", 4 } end, "not a span",
    "facts[2].mentions[1].value" },
  { "span missing", function(r) r.facts[2].mentions[1].value = nil end, "not a span", "facts[2].mentions[1].value" },
  { "span outside", function(r) r.facts[2].mentions[1].sentence[2] = #r.passage + 1 end, "outside the passage of %d+",
    "facts[2].mentions[1].sentence" },
  { "span shifted", function(r)
      local v = r.facts[3].mentions[1].value
      v[1], v[2] = v[1] + 1, v[2] + 1
    end, "value span holds '.+', not '.+'", "facts[3].mentions[1].value" },
  { "value cuts a word", function(r)
      local f = r.facts[3]
      f.value, f.mentions[1].value[2] = f.value:sub(1, -2), f.mentions[1].value[2] - 1
    end, "cuts a word", "facts[3].mentions[1].value" },
  { "sentence cut", function(r)
      local m = r.facts[3].mentions[1]
      m.sentence = { m.value[1], m.value[2] }
    end, "not a whole sentence", "facts[3].mentions[1].sentence" },
  { "value in another sentence", function(r) r.facts[3].mentions[1].sentence = copy(r.facts[2].mentions[1].sentence)
      local a, b = r.facts[3].mentions[1], r.facts[2].mentions[1]
      if a.value[1] < b.sentence[2] then a.sentence = copy(r.facts[5].mentions[1].sentence) end
    end, "outside its sentence", "facts[3].mentions[1].value" },
  { "no binding", function(r) r.facts[2].mentions[1].binding = {} end, "no binding", "facts[2].mentions[1].binding" },
  { "binding on the value", function(r) r.facts[2].mentions[1].binding[1] = copy(r.facts[2].mentions[1].value) end,
    "overlaps the value", "facts[2].mentions[1].binding[1]" },
  { "binding outside", function(r) r.facts[2].mentions[1].binding[1] = { -2, 3 } end, "outside the passage",
    "facts[2].mentions[1].binding[1]" },
  { "no mention", function(r) r.facts[2].mentions = {} end, "mentioned nowhere", "facts[2].mentions" },
  { "fact type", function(r) r.facts[2].type = "Colour" end, "type 'Colour' %-> one of Table 4", "facts[2].type" },
  { "stated twice", function(r) r.passage = r.passage .. " Again: " .. r.facts[2].value .. "." end, "stated 2 times",
    "facts[2].value" },
  -- questions
  { "same question twice", function(r) r.questions[2] = copy(r.questions[1]) end, "questions 1 and 2 are the same",
    "questions[2].q" },
  { "no question mark", function(r) r.questions[1].q = "Tell me." end, "'Tell me.' does not end in a question mark",
    "questions[1].q" },
  { "no answer", function(r) r.questions[1].a = "" end, "has no answer", "questions[1].a" },
  { "answer too long", function(r)
      local q = first_question(r, standard)
      q.a = ("many "):rep(9)
    end, "has 9 words, more than 8", "questions[%d].a" },
  { "no forward question", function(r)
      local reverse = first_question(r, function(q) return q.direction == "reverse" and #q.cue_ids > 0 end)
      for i = 1, #r.questions do
        r.questions[i] = copy(reverse)
        r.questions[i].q = "Number " .. i .. ": " .. reverse.q
      end
    end, "no forward question", "questions" },
  { "no reverse question", function(r) for _, q in ipairs(r.questions) do q.direction = "forward" end end,
    "no reverse question", "questions" },
  { "direction", function(r) r.questions[1].direction = "sideways" end, "'sideways' %-> forward or reverse",
    "questions[1].direction" },
  { "answer type", function(r) r.questions[1].answer_type = "Colour" end, "answer type 'Colour'",
    "questions[1].answer_type" },
  { "question type", function(r) r.questions[1].question_type = "hard" end, "standard, manipulated or part",
    "questions[1].question_type" },
  { "unknown fact", function(r) r.questions[1].fact_ids = { "f99" } end, "fact 'f99' does not exist",
    "questions[1].fact_ids[1]" },
  { "unknown cue", function(r) r.questions[1].cue_ids = { "f99" } end, "cue fact 'f99' does not exist",
    "questions[1].cue_ids[1]" },
  { "no facts named", function(r) r.questions[1].fact_ids = {} end, "names no fact", "questions[1].fact_ids" },
  { "answer not grounded", function(r) first_question(r, standard).a = "something else" end,
    "'something else' is not the value of its fact", "questions[%d].a" },
  { "manipulated answer is the whole value", function(r)
      local q = first_question(r, standard)
      q.question_type = "manipulated"
    end, "not a proper part", "questions[%d].a" },
  { "part of one fact only", function(r)
      local q = first_question(r, standard)
      q.question_type = "part"
    end, "words of two facts", "questions[%d].a" },
  { "part with a foreign word", function(r)
      local q = first_question(r, standard)
      q.question_type, q.a = "part", q.a .. ", Xyzzy"
    end, "'xyzzy' stands in none of its facts", "questions[%d].a" },
  { "answerable, but abstains", function(r) r.questions[1].a = "I don't know" end, "its answer abstains",
    "questions[1].answerable" },
  { "unanswerable, but answers", function(r) r.questions[1].answerable = false end, "unanswerable, but has an answer",
    "questions[1].answerable" },
  { "gives itself away", function(r)
      local q = first_question(r, standard)
      q.q = "Is it " .. q.a .. "?"
    end, "gives its own answer away", "questions[%d].q" },
  { "alias is a rival", function(r)
      local q = first_question(r, standard)
      for _, fact in ipairs(r.facts) do
        if fact.id ~= q.fact_ids[1] and fact.relation ~= "name" then q.aliases = { fact.value } end
      end
    end, "another fact's value", "questions[%d].aliases[1]" },
}

-- Rewrites a fact's value everywhere, spans included, by text of the same length.
local function rename(record, fact, value)
  local v = fact.mentions[1].value
  t.eq(#value, #fact.value)
  record.passage = record.passage:sub(1, v[1]) .. value .. record.passage:sub(v[2] + 1)
  fact.value = value
end

local function field_matches(field, expected) return field:gsub("%[%d+%]", "") == expected:gsub("%[%%?d?%d*%]", "")
  and (expected:find("%d", 1, true) or field == expected) end

t.case("the validator rejects each broken record for its own reason, and names the field", function()
  local source = dataset("base", { size = 3 }).records[2]
  t.eq({ dataset.check(source) }, { true })
  t.ok(#broken >= 60)
  local seen = {}
  for _, case in ipairs(broken) do
    t.ok(not seen[case[1]], case[1] .. " stands twice in the table")
    seen[case[1]] = true
    local record = copy(source)
    case[2](record)
    local ok, reason, field = dataset.check(record, dataset.task("base").rules)
    t.ok(not ok, case[1] .. " was accepted")
    t.ok(reason:find(case[3]), case[1] .. ": reason was '" .. tostring(reason) .. "'")
    t.ok(field_matches(field, case[4]), case[1] .. ": field was " .. field)
    t.eq(reason:sub(1, #field + 2), field .. ": ", case[1])
    t.ok(not reason:find("\n"), case[1])
  end
end)

-- Lines that are no records, between two that are.
local good_line = dataset.serialise(dataset("base", { size = 1 }).records[1])
local small = [[{"passage": "A red fox.", "questions": [{"q": "Which colour?", "a": "red"}]%s}]]
local lines = {
  { "an opened brace", '{"passage": "x"', "not valid JSON at column %d+" },
  { "a comma too many", '{"passage": "x",}', "not valid JSON at column 1%d" },
  { "a single quote", "{'passage': 1}", "not valid JSON" },
  { "a doubled key", '{"passage": "x", "passage": "y"}', "duplicate" },
  { "a number", "42", "not a JSON object" },
  { "a list", "[1, 2]", "not a JSON object" },
  { "another language", "passage: x", "not valid JSON" },
  { "Latin-1", '{"passage": "caf\xe9"}', "byte 0xE9 in column 17 .*iconv" },
  { "UTF-8 cut in a character", '{"passage": "caf\xc3"}', "byte 0xC3 in column 17" },
  { "a lone surrogate", [[{"passage": "\ud800x"}]], "not valid JSON" },
  { "NUL", '{"passage": "a\0b"}', "not valid JSON" },
  { "NUL, escaped", small:format(', "id": "a\\u0000b"'), "id: holds the control character 0x00" },
  { "NaN", '{"passage": NaN}', "not valid JSON" },
  { "too long a line", '{"passage": "' .. ("x"):rep(300000) .. '"}', "the line has 30001%d bytes, more than 200000" },
  { "other fields", '{"text": "x", "label": 1}', "not a form that is known.*its fields: label, text" },
  { "no fields", "{}", "its fields: none" },
  { "no questions", '{"passage": "x"}', "questions: is missing, not a list" },
  { "an empty list of questions", '{"passage": "x", "questions": []}', "asks nothing" },
  { "a question without an answer", '{"passage": "x", "questions": [{"q": "y?"}]}', "questions%[1%].a: is missing" },
  { "a blank answer", '{"passage": "x", "questions": [{"q": "y?", "a": " "}]}', "the answer is empty" },
  { "a span that holds something else", small:format([[, "facts": [{"id": "f1", "value": "red", "mentions":
    [{"sentence": [0, 10], "value": [3, 6]}]}] ]]):gsub("\n", " "), "value span holds 'ed ', not 'red'" },
  { "a doubled id", good_line, "id: 'base%-A%-0001' was already used %(line 1%)" },
  { "a known task's rules", (good_line:gsub('"id":"[^"]*"', '"id":"z"', 1):gsub('"direction":"%a+"', '"direction":"up"',
    1)),
    "direction 'up'" },
}

local function file_of(list)
  local path = os.tmpname()
  local f = assert(io.open(path, "wb"))
  f:write(table.concat(list, "\n"), "\n")
  f:close()
  return path
end

t.case("broken lines: their number and reason; the good lines stay usable", function()
  for _, case in ipairs(lines) do
    local path = file_of { good_line, case[2], "", small:format "" }
    local good, rejects = {}, {}
    for record, reject in dataset.stream(path, { longest = 200000 }) do
      if record then good[#good + 1] = record else rejects[#rejects + 1] = reject end
    end
    t.eq(#good, 2, case[1])
    t.eq({ #rejects, rejects[1] and rejects[1].line }, { 1, 2 }, case[1])
    local line = read.explain("x.jsonl", rejects[1])
    t.ok(line:find(case[3]), case[1] .. ": " .. line)
    t.ok(line:find("^x%.jsonl:2: [%w%[%]._]+: "), case[1] .. ": " .. line)
    t.ok(not line:find("%c"), case[1])
    t.fails(function() dataset.read(path, { longest = 200000 }) end, ":2: .*skip = true takes the 2 good records")
    local ds = dataset.read(path, { longest = 200000, skip = true })
    t.eq({ ds:len(), ds.rejects.count }, { 2, 1 })
    os.remove(path)
  end
end)

t.case("files that are no JSON lines at all are one error", function()
  for bytes, pattern in pairs { ["\255\254{\0"] = "UTF%-16", ["\31\139\8"] = "gzip", ["PK\3\4x"] = "zip",
    ["PAR1"] = "Parquet" } do
    local path = file_of { bytes }
    t.fails(function() dataset.read(path) end, pattern)
    os.remove(path)
  end
  local path = file_of { "" }
  t.fails(function() dataset.read(path) end, "holds no records")
  os.remove(path)
  t.fails(function() dataset.read("/nonexistent.jsonl") end, "cannot read '/nonexistent.jsonl'")
end)

t.case("the validator knows real names and ambiguous slots", function()
  local record
  for _, candidate in ipairs(dataset("base", { size = 60 }).records) do
    for _, fact in ipairs(candidate.facts) do
      if fact.type == "Location" and fact.relation ~= "name" and #fact.value == 7 then record = record or { candidate,
        fact } end
    end
  end
  t.ok(record, "no location of seven letters among 60 records")
  local function broken_copy(value)
    local r = copy(record[1])
    for _, fact in ipairs(r.facts) do if fact.id == record[2].id then rename(r, fact, value) end end
    for _, q in ipairs(r.questions) do if q.a == record[2].value then q.a = value end end
    return dataset.check(r)
  end
  local ok, reason = broken_copy("Hamburg")
  t.ok(not ok and reason:find("real name %(place%)"), tostring(reason))
  ok, reason = broken_copy("Brindle")
  t.ok(not ok and reason:find("reserved"), tostring(reason))
  t.eq({ broken_copy("Wexquil") }, { true })

  local k = dataset("knowledge", { size = 1 }).records[1]
  local rules = copy(dataset.task("knowledge").rules)
  k.facts[#k.facts + 1] = copy(k.facts[2])
  k.facts[#k.facts].id = "f9"
  ok, reason = dataset.check(k, rules)
  t.ok(not ok and reason:find("cannot be told apart"), tostring(reason))
end)

t.case("coreference: a twin that is missing or answered is found", function()
  local source = dataset("coreference", { size = 1 }).records[1]
  local record = copy(source)
  for _, q in ipairs(record.questions) do
    if not q.answerable then
      q.q = "Whatever did she do?"
      break
    end
  end
  local ok, reason = dataset.check(record)
  t.ok(not ok and reason:find("3 he/she pairs, expected 4"), tostring(reason))
end)

t.case("the validator never raises", function()
  for _, junk in ipairs { 1, "x", {}, { task = "base" }, { task = "nothing" }, { task = "base", id = "x",
    passage = "A b." },
    { task = "base", id = "x", passage = ("word "):rep(170), facts = { 1 }, questions = { 2 } },
    { task = "base", id = "x", passage = ("word "):rep(170), facts = {}, questions = { {}, {}, {}, {}, {} } } } do
    local ok, reason = dataset.check(junk)
    t.ok(ok == nil and type(reason) == "string")
  end
  t.eq((dataset.check(nil)), nil)
end)

