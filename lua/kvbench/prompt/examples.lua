-- SPDX-License-Identifier: Apache-2.0
-- The worked examples of the few-shot style: one text and three questions about it, as the passage and its questions
-- follow. (With three texts of one question each, SmolLM2-135M lost a third of its right answers: 19 against 28 of 54
-- base questions, uncompressed.)
-- The names are reserved: no dataset uses them, so an answer that repeats one was copied from the prompt.
local M = {}

M.text = "Brindle Quay is a small harbor on the northern coast. It was rebuilt by Tobin Harle in 1907, after a storm "
  .. "had carried away the old pier. The harbor is famous for its smoked eel, and a bronze otter guards the gate."

M.shots = {
  { q = "Who rebuilt Brindle Quay?", a = "Tobin Harle" },
  { q = "What is Brindle Quay famous for?", a = "smoked eel" },
  { q = "Which harbor was rebuilt in 1907?", a = "Brindle Quay" },
}

-- An extra one, second, when the prompt is to show that a question may have no answer. Measured on 96 base questions
-- without eviction (word F1, answers withheld): none .59, 0; second .53, 0; first .42, 10; in the
-- place of another .42, 4.
M.unknown = { q = "How deep is Brindle Quay?", a = "I don't know" }

--- The questions and answers as {q, a}: three, with idk four.
function M.list(idk)
  local list = { M.shots[1], M.shots[2], M.shots[3] }
  if idk then table.insert(list, 2, M.unknown) end
  return list
end

return M
