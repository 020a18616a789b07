-- SPDX-License-Identifier: Apache-2.0
-- kvbench dataset VERB: one file a verb in command/, found by name.
local words = require "kvbench.words"

local M = {}

local verbs = {}
for _, name in ipairs { "list", "show", "check", "make", "tags" } do
  verbs[name] = function(rest) return require("kvbench.dataset.command." .. name)(rest) end
end

M.overview = [==[
kvbench dataset list                      the tasks, their sizes and what they are
kvbench dataset show TASK|FILE [N]        record N: passage with the answers' evidence marked, questions, tags, prompts
kvbench dataset check TASK|FILE           every record through the validator; one line for each that is rejected
kvbench dataset tags TASK|FILE            answer and question types by rules, scored against the labels there
kvbench dataset make TASK [--out FILE]    writes a dataset as JSON lines (FILE.zst: compressed)
kvbench dataset make TASK --with MODEL|URL   has a model write the records, validates, asks again

FILE: JSON lines, plain or zstd: our own records, SQuAD or LongBench. VERB --help: its options.]==]

--- Returns the exit status.
function M.main(rest) return words.dispatch("dataset", rest, verbs, M.overview) or 0 end

return M
