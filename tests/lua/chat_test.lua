-- SPDX-License-Identifier: Apache-2.0
-- Chat templates against what the models' own Jinja templates render (chat_golden.json, scripts/make_chat_golden.py).
local t = require "kvbench.testing"
local chat = require "kvbench.prompt.chat"
local json = require "kvbench.json"
local prompt = require "kvbench.prompt"

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "tests/lua"
local golden = json.load(here .. "/chat_golden.json")

local names = {}
for name in pairs(golden) do names[#names + 1] = name end
table.sort(names)

for _, name in ipairs(names) do
  t.case(name .. ": every conversation to the byte", function()
    t.ok(#golden[name].cases >= 9)
    for i, case in ipairs(golden[name].cases) do
      local date = case.date ~= json.null and case.date or nil
      local text = chat.render(name, case.messages, { generation = case.generation, date = date })
      t.eq(text, case.text, ("case %d"):format(i))
    end
  end)
end

t.case("what has a golden says so, and nothing else does", function()
  for _, name in ipairs(chat.names()) do
    local template = chat.templates[name]
    t.ok(template.checked == "golden" or template.checked:find("^unchecked: %S"), name)
    t.eq(template.checked == "golden", golden[name] ~= nil or name == "none", name)
  end
end)

t.case("a prompt is the conversation of one user turn, cut in two", function()
  local record = { passage = "A fox. It is red.", questions = { { q = "Which colour? \n", a = "red" } } }
  for _, name in ipairs(chat.names()) do
    local p = prompt.render("paper", record, { template = name })
    if name ~= "none" then
      local content = prompt.instruction .. record.passage .. "\n" .. record.questions[1].q
      t.eq(p.context .. p.suffix(record.questions[1]), chat.render(name, { { role = "user", content = content } }),
        name)
    end
    t.eq(p.context:sub(p.passage_span[1] + 1, p.passage_span[2]), record.passage)
  end
  local dated = prompt.render("paper", record, { template = "llama-3.2", date = "03 Mar 2025" })
  t.ok(dated.context:find("Today Date: 03 Mar 2025\n", 1, true))
end)

t.case("roles that do not exist", function()
  t.fails(function() chat.render("chatml", { { role = "robot", content = "x" } }) end,
    "message 1 needs content and the role")
  t.fails(function() chat.render("chatml", { { role = "user" } }) end, "message 1")
  t.fails(function() chat.render("lama-3", {}) end, "unknown chat template 'lama%-3' %-> did you mean 'llama%-3")
end)
