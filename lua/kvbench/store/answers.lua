-- SPDX-License-Identifier: Apache-2.0
-- Rows of a sweep as rows of tables, and back unchanged. A row's columns are those that were given: a column that is
-- new
-- becomes one of the table `answers`, with the kind of its first value (the table `metrics` lists them). What depends
-- on the
-- question alone is stored once, in `questions`; press, ratio, regime and variant in `conditions`.
local database = require "kvbench.store.db"
local C = require("kvbench.ffi").C

local M = {}
local Answers = {}
Answers.__index = Answers

-- What is stored elsewhere than in `answers`.
local of_question = { "gold", "direction", "answer_type", "question_type" }
local elsewhere = { key = true, passage_id = true, question = true, press = true, ratio = true, regime = true,
  variant = true }
for _, name in ipairs(of_question) do elsewhere[name] = true end

local types = { number = "REAL", boolean = "INTEGER", string = "TEXT" }

--- The answers of an open store.
function M.new(db)
  local self = setmetatable({ db = db, columns = {}, kinds = {}, conditions = {}, by_id = {}, passages = {},
    asked = {} }, Answers)
  for row in db:rows "SELECT name, kind FROM metrics ORDER BY name" do self:know(row[1], row[2]) end
  for row in db:rows "SELECT id, key, press, ratio, regime, variant FROM conditions" do
    self.conditions[row[2]], self.by_id[row[1]] = row[1], row
  end
  return self
end

function Answers:know(name, kind)
  self.columns[#self.columns + 1] = name
  self.kinds[name] = kind
  self.insert = nil
end

local function check_name(self, name)
  if not name:find "^[%a_][%w_]*$" then
    error(("column '%s' cannot be stored -> letters, digits and _ only"):format(name), 0)
  end
  for known in pairs(self.kinds) do
    if known:lower() == name:lower() then
      error(("columns '%s' and '%s' differ in case only, and SQL does not tell them apart -> rename one"):format(known,
        name), 0)
    end
  end
end

--- Adds a column; kind: number, boolean or string. The table, the list of columns and the view change together: what is
--- stored before a failure is kept, and half of this would make the run one that cannot go on.
function Answers:add_column(name, kind)
  check_name(self, name)
  self.db:run "SAVEPOINT add_column"
  local ok, why = pcall(function()
    self.db:run(("ALTER TABLE answers ADD COLUMN %s %s"):format(database.quote(name), types[kind]))
    self.db:exec("INSERT INTO metrics (name, kind) VALUES (?, ?)", name, kind)
    self:make_view(name)
  end)
  if ok then
    self:know(name, kind)
  else
    C.kvb_store_run(self.db:pointer(), "ROLLBACK TO add_column") -- the first error is what counts
  end
  self.db:run "RELEASE add_column"
  if not ok then error(why, 0) end
end

--- The view `rows`: what rows.csv has, for those who read the store with other programs. more: a column to be.
function Answers:make_view(more)
  local list = {}
  for i, name in ipairs(self.columns) do list[i] = ", a." .. database.quote(name) end
  if more then list[#list + 1] = ", a." .. database.quote(more) end
  self.db:run("DROP VIEW IF EXISTS rows; CREATE VIEW rows AS SELECT "
    .. "p.name || '|' || a.question || '|' || c.key AS key, p.name AS passage_id, "
    .. "a.question AS question, c.press AS press, c.ratio AS ratio, c.regime AS regime, "
    .. "c.variant AS variant, q.gold AS gold, q.direction AS direction, q.answer_type AS answer_type, "
    .. "q.question_type AS question_type" .. table.concat(list)
    .. " FROM answers a JOIN passages p ON p.id = a.passage JOIN conditions c ON c.id = a.condition "
    .. "LEFT JOIN questions q ON q.passage = a.passage AND q.question = a.question")
end

local function check_value(self, name, value, row)
  local kind = type(value)
  if not types[kind] then
    error(("row %s: column '%s' is a %s -> a number, a text, a boolean or nil"):format(row.key, name, kind), 0)
  end
  if kind == "number" and (value ~= value or value == math.huge or value == -math.huge) then
    error(("row %s: column '%s' is %s -> nil where it is not defined"):format(row.key, name, tostring(value)), 0)
  end
  local known = self.kinds[name]
  if not known then return self:add_column(name, kind) end
  if known ~= kind then
    error(("row %s: column '%s' is a %s, in other rows a %s -> one kind a column"):format(row.key, name, kind, known),
      0)
  end
end

--- The id of a condition, given by what follows passage and question in a row's key; made when it is new.
function Answers:condition(key, press, ratio, regime, variant)
  local id = self.conditions[key]
  if id then return id end
  id = #self.by_id + 1
  self.db:exec("INSERT INTO conditions (id, key, press, ratio, regime, variant) VALUES (?, ?, ?, ?, ?, ?)", id, key,
    press, ratio, regime, variant)
  self.conditions[key], self.by_id[id] = id, { id, key, press, ratio, regime, variant }
  return id
end

function Answers:passage(name)
  local id = self.passages[name]
  if not id then
    id = self.db:row("SELECT id FROM passages WHERE name = ?", name)
      or error(("'%s' has no passage '%s'"):format(self.db.path, name), 0)
    self.passages[name] = id
  end
  return id
end

local function key_of(row)
  local prefix = row.passage_id .. "|" .. row.question .. "|"
  if row.key:sub(1, #prefix) ~= prefix then
    error(("a row's key is '%s', expected it to begin with '%s'"):format(row.key, prefix), 0)
  end
  return row.key:sub(#prefix + 1)
end

function Answers:statement()
  if not self.insert then
    local names, marks = {}, {}
    for i, name in ipairs(self.columns) do names[i], marks[i] = ", " .. database.quote(name), ", ?" end
    self.insert = ("INSERT OR REPLACE INTO answers (passage, condition, question%s) VALUES (?, ?, ?%s)"):format(
      table.concat(names), table.concat(marks))
  end
  return self.db:prepare(self.insert)
end

--- Stores one row. The caller holds the transaction.
function Answers:add(row)
  for name, value in pairs(row) do
    if not elsewhere[name] then check_value(self, name, value, row) end
  end
  local passage = self:passage(row.passage_id)
  local condition = self:condition(key_of(row), row.press, row.ratio, row.regime, row.variant)
  local asked = passage * 65536 + row.question
  if not self.asked[asked] then
    self.db:exec("INSERT OR IGNORE INTO questions (passage, question, gold, direction, answer_type, question_type) "
      .. "VALUES (?, ?, ?, ?, ?, ?)", passage, row.question, row.gold, row.direction, row.answer_type,
      row.question_type)
    self.asked[asked] = true
  end
  local statement, bind = self:statement(), database.bind
  bind(statement, 1, passage)
  bind(statement, 2, condition)
  bind(statement, 3, row.question)
  for i, name in ipairs(self.columns) do bind(statement, 3 + i, row[name]) end
  database.step(statement)
end

--- Set of the keys stored for a passage.
function Answers:known(name)
  local known = {}
  for row in self.db:rows("SELECT question, condition FROM answers WHERE passage = ?", self:passage(name)) do
    known[("%s|%d|%s"):format(name, row[1], self.by_id[row[2]][2])] = true
  end
  return known
end

local readers = {
  number = function(s, i) return C.kvb_query_number(s, i) end,
  boolean = function(s, i) return C.kvb_query_number(s, i) ~= 0 end,
  string = function(s, i) return database.value(s, i) end,
}

local function questions_of(self, passage)
  local questions = {}
  for row in self.db:rows("SELECT question, gold, direction, answer_type, question_type FROM questions "
    .. "WHERE passage = ?", passage) do questions[row[1]] = row end
  return questions
end

--- The rows of one passage as they were added, by ascending key.
function Answers:rows(name)
  local passage, names, list = self:passage(name), {}, {}
  local questions = questions_of(self, passage)
  for i, column in ipairs(self.columns) do names[i] = ", " .. database.quote(column) end
  local statement = self.db:prepare("SELECT question, condition" .. table.concat(names)
    .. " FROM answers WHERE passage = ?")
  database.bind(statement, 1, passage)
  while database.step(statement) do
    local q = C.kvb_query_number(statement, 0)
    local condition = self.by_id[C.kvb_query_number(statement, 1)]
    local row = { key = ("%s|%d|%s"):format(name, q, condition[2]), passage_id = name, question = q,
      press = condition[3], ratio = condition[4], regime = condition[5], variant = condition[6] }
    for i, column in ipairs(of_question) do row[column] = questions[q] and questions[q][i + 1] end
    for i, column in ipairs(self.columns) do
      if C.kvb_query_kind(statement, i + 1) ~= C.KVB_VALUE_NULL then
        row[column] = readers[self.kinds[column]](statement, i + 1)
      end
    end
    list[#list + 1] = row
  end
  table.sort(list, function(a, b) return a.key < b.key end)
  return list
end

return M
