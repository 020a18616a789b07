-- SPDX-License-Identifier: Apache-2.0
-- Algorithm 1, lines 1 and 2: what a model is asked to write. Values and the words that bind them are marked in the
-- text by the model itself, so that spans come from the writer and need not be searched for; names are placeholders, so
-- that no real one gets in (line 3).
local M = {}

-- Subjects by task; each record gets one, in turn, with a setting that varies it.
local kinds = { "rock band", "prison", "animal species", "landmark building", "medical condition", "ancient city",
  "football player", "animated series", "rock formation", "historic trial" }
local settings = { "on a northern coast", "in a mountain region", "in a river valley", "in a port town",
  "on an island", "near a desert", "in a forest country", "in an old capital" }

-- What a task asks for beside base's rules.
local extra = {
  base = "All facts are about the one subject.",
  multi_presence = "Name the subject often, at least ten times, in different places of the passage.",
  multi_entity = "Beside the subject there are at least four other named entities, each with facts of its own.",
  long_context = "Spread the facts evenly over the whole passage, far from each other.",
  hops = "Beside the subject there are three further entities; each is linked to the one before it.",
}

--- Names of the tasks that a model can write.
function M.tasks()
  local names = {}
  for name in pairs(extra) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- What record i is about.
function M.subject(i) return kinds[(i - 1) % #kinds + 1], settings[math.floor((i - 1) / #kinds) % #settings + 1] end

local form = [==[
Reply with one JSON object and nothing else:
{"subject": "NAME_1",
 "passage": "... [[s:NAME_1]] ... [[r1:was founded by]] [[f1:PERSON_1]] ...",
 "facts": [{"id": "f1", "relation": "founder", "type": "Person", "value": "PERSON_1"}],
 "questions": [{"q": "Who founded NAME_1?", "a": "PERSON_1", "facts": ["f1"], "cues": [], "direction": "forward",
   "answer_type": "Person", "question_type": "standard"},
  {"q": "What was founded by PERSON_1?", "a": "NAME_1", "facts": ["name"], "cues": ["f1"], "direction": "reverse",
   "answer_type": "Organization", "question_type": "standard"}]}
- In the passage mark every value as [[f1:value]], the words that state its relation as [[r1:words]], and each mention of the
  subject (its name, or "it", "the band") as [[s:mention]]. The marks will be taken out.
- Write every name as a placeholder: NAME_1 the subject, PERSON_1, PERSON_2, PLACE_1, ORG_1 ... They will be replaced by
  invented names. Use no real names of people, places, organizations or works.
- State each value exactly once. A value stands in one sentence, word for word as in "facts". No value may contain another.
- type and answer_type: Person, Thing, Organization, Creature, Location, Numerals, Date/Time or Event.
- question_type: "standard" = the answer is one fact's value; "manipulated" = a part of one value (the year of a date);
  "part" = put together from two facts. direction: "forward" asks for a value, "reverse" for the subject ("facts": ["name"],
  "cues": the fact that the question quotes). Both directions must occur. A question must not contain its answer.
- Every sentence begins with a capital letter and ends with a full stop; no abbreviations with a stop.]==]

--- The first messages for record i of a task.
function M.messages(task, i)
  local rules = task.rules
  local kind, setting = M.subject(i)
  local task_text = ("Write a passage of %d to %d words about an invented %s %s. It states at least %d facts about its "
    .. "subject in fluent prose. %s Then write %d questions about it whose answers have at most %d words.\n"):format(
    rules.words[1], rules.words[2], kind, setting, math.max(rules.attributes, 6), extra[task.name] or "",
    rules.questions[2], rules.answer_words)
  return { { role = "system", content = "You write test passages with exact facts. You reply with JSON only." },
    { role = "user", content = task_text .. form } }
end

--- The messages of a further try: the last reply and why it was rejected.
function M.retry(messages, reply, reason)
  local out = { messages[1], messages[2] }
  out[3] = { role = "assistant", content = reply }
  out[4] = { role = "user", content = "That was rejected: " .. reason .. "\nWrite the whole JSON object again, corrected." }
  return out
end

return M
