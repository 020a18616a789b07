-- SPDX-License-Identifier: Apache-2.0
-- The worked examples of the few-shot style. Their names are reserved: no dataset uses them, so an answer that repeats
-- one was copied from the prompt. Three short texts, three kinds of answer.
local M = {}

M.shots = {
  { text = "Brindle Quay is a small harbour. It was rebuilt by Tobin Harle after a storm.",
    q = "Who rebuilt Brindle Quay?", a = "Tobin Harle" },
  { text = "Velda Harrowgate keeps bees on a farm near Ostley Fen. She sells the honey at a weekly market.",
    q = "Where is the farm of Velda Harrowgate?", a = "near Ostley Fen" },
  { text = "The Pennick Bell was cast from bronze and hangs in a tower with a green door.",
    q = "Which bell hangs in a tower with a green door?", a = "Pennick Bell" },
}

-- Takes the place of the last one when the prompt is to show that a question may have no answer.
M.unknown = {
  text = "The Pennick Bell was cast from bronze and hangs in a tower with a green door.",
  q = "How heavy is the Pennick Bell?", a = "I don't know",
}

--- The examples, three of them, as {text, q, a}.
function M.list(idk)
  return { M.shots[1], M.shots[2], idk and M.unknown or M.shots[3] }
end

return M
