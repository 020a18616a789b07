-- SPDX-License-Identifier: Apache-2.0
-- kvbench's own records: a passage and its questions, the rest as far as it is known (docs/dataset.md).
return {
  name = "own", doc = [[{"passage": ..., "questions": [{"q": ..., "a": ...}]}, all other fields optional]],
  matches = function(value) return value.passage ~= nil or value.questions ~= nil end,
  convert = function(value, _, put) put(value) end,
}
