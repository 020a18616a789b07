-- SPDX-License-Identifier: Apache-2.0
-- The data sheet as Markdown: tables of what measure.lua counted and what a model answered. Written by
-- experiments/data_sheet.lua into datasets/README.md.
local M = {}

local function thousands(n)
  return (("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local table1 = { base = "175 ± 25", knowledge = "32", multi_presence = "500 ± 100", multi_entity = "500 ± 100",
  long_context = "1,100 ± 200", coreference = "44", hops = "1,100 ± 20" }

local function four(t) return ("%d/%d/%d/%d"):format(t[0] or 0, t[1] or 0, t[2] or 0, t[3] or 0) end

local function span(r) return ("%.0f (%d to %d)"):format(r.mean, r.min, r.max) end

local tables = {
  { head = { "task", "passages", "questions", "words: Table 1", "words: mean (min to max)", "tokens: mean (min to max)",
      "answer words", "CPU s" },
    row = function(name, m)
      return { thousands(m.records), thousands(m.questions), table1[name] or "", span(m.words), span(m.tokens),
        ("%.1f"):format(m.answer_words.mean), ("%.1f"):format(m.seconds) }
    end,
    text = [[
CPU s: seconds of one core for making and validating the task at full size.

![lengths](figures/lengths.png)
]] },
  { head = { "task", "types/token", "distinct-4", "sentences", "skeletons", "repeated", "in a passage",
      "question templates", "same passage", "same question in a passage" },
    row = function(_, m)
      return { ("%.3f"):format(m.ttr), ("%.3f"):format(m.distinct4), thousands(m.sentences), thousands(m.templates),
        ("%.2f"):format(m.repeated), tostring(m.twice), tostring(m.question_templates), tostring(m.same_passages),
        tostring(m.same_questions) }
    end,
    text = [[
Types and different 4-grams per word, over the first 20,000 words. A skeleton is a sentence without names and numbers;
`repeated` is the share of sentences whose skeleton stands elsewhere in the task too: prose comes from a finite grammar,
and `knowledge` and `coreference` come from one template each, on purpose. `in a passage` counts the sentences whose
skeleton the same passage already had.

![variety](figures/variety.png)

![where answers stand](figures/positions.png)

![answer types](figures/answer_types.png) ![question types](figures/question_types.png)
]] },
  { head = { "task", "always answers", "always abstains", "with the passage", "without it", "asked", "declined",
      "hop 0/1/2/3", "depth 0/1/2/3" },
    row = function(_, m)
      local none = m.unanswerable / m.questions
      return { ("%.3f"):format(1 - none), ("%.3f"):format(none), ("%.2f"):format(m.open.share),
        ("%.2f"):format(m.closed.share), tostring(m.open.n), m.open.declined and ("%.2f"):format(m.open.declined) or "",
        four(m.hops), four(m.depths) }
    end,
    text = [[
Two baselines: the score of whoever gives every right answer that there is and never abstains, and of whoever always
says "I don't know". Then the share of `asked` answerable questions that the model answers correctly with the passage
and without it (few-shot prompt, full cache), and the share of unanswerable ones that it declines. What can be answered
without a passage is read off the question, as first and last names are in `knowledge`.

![with and without](figures/books.png)
]] },
}

--- The sheet's text.
--   names   tasks, in order
--   sheet   name -> measures (measure.of), with seconds, and open and closed = {n, share, declined}
--   about   { seed =, model =, dtype =, samples = }
function M.text(names, sheet, about)
  local out = { ("Seed %s, full size; tokens and answers are those of %s (%s). Written by `kvbench "
    .. "experiments/data_sheet.lua`."):format(about.seed, about.model, about.dtype), "" }
  for _, t in ipairs(tables) do
    out[#out + 1] = "| " .. table.concat(t.head, " | ") .. " |"
    out[#out + 1] = "|" .. ("---|"):rep(#t.head)
    for _, name in ipairs(names) do
      out[#out + 1] = ("| `%s` | %s |"):format(name, table.concat(t.row(name, sheet[name]), " | "))
    end
    out[#out + 1] = ""
    out[#out + 1] = t.text
  end
  out[#out + 1] = ("Samples: `samples/TASK.jsonl.zst`, the first %d records of seed A; `kvbench dataset show "
    .. "datasets/samples/hops.jsonl.zst` prints one."):format(about.samples)
  return table.concat(out, "\n") .. "\n"
end

--- `page` with the text between its marks replaced; an error when it has none.
function M.insert(page, text, where)
  local head, tail = page:match("^(.-<!%-%- sheet %-%->\n).-(<!%-%- end of sheet %-%->.*)$")
  if not head then error(("'%s' has no lines <!-- sheet --> and <!-- end of sheet -->"):format(where), 0) end
  return head .. text .. tail
end

return M
