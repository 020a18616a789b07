-- SPDX-License-Identifier: Apache-2.0
-- A SQLite file from Lua: prepared statements that are kept, values by position, transactions that hold many small
-- writes.
--
-- Values: number, text, boolean (0 or 1), nil (NULL), and db.blob(text) for bytes. Every failure is one line from
-- core/store.c.
local ffi = require "ffi"
local library = require "kvbench.ffi"
local C, check = library.C, library.check

local M = {}
local Db = {}
Db.__index = Db

local store_out, query_out = ffi.typeof "kvb_store *[1]", ffi.typeof "kvb_query *[1]"
local row_out, bytes_out = ffi.new "int32_t[1]", ffi.new "int64_t[1]"
local NULL, NUMBER = C.KVB_VALUE_NULL, C.KVB_VALUE_NUMBER
local Blob = {}

--- Marks a text as bytes for a BLOB column.
function M.blob(text) return setmetatable({ text = text }, Blob) end

--- Opens a file. mode: "read" or "write" (made if it is not there).
function M.open(path, mode)
  local out = store_out()
  check(C.kvb_store_open(path, mode == "write" and C.KVB_STORE_WRITE or C.KVB_STORE_READ, out))
  return setmetatable({ handle = ffi.gc(out[0], C.kvb_store_close), path = path, statements = {}, writing = false },
    Db)
end

function Db:pointer()
  if self.handle == nil then error(("'%s' was closed"):format(self.path), 0) end
  return self.handle
end

--- Closes; more calls do nothing. An open transaction is rolled back.
function Db:close()
  if self.handle == nil then return end
  for _, statement in pairs(self.statements) do C.kvb_query_free(ffi.gc(statement, nil)) end
  self.statements = {}
  C.kvb_store_close(ffi.gc(self.handle, nil))
  self.handle = nil
end

--- Folds the journal into the file, so that it is whole by itself and can be read where nobody may write. Left for
--- later
--- when another process reads it just now.
function Db:settle()
  C.kvb_store_run(self:pointer(), "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE")
end

--- Runs statements that give no rows and take no values.
function Db:run(sql) check(C.kvb_store_run(self:pointer(), sql)) end

--- The prepared statement of a text, made when first asked for. For loops that bind by themselves.
function Db:prepare(sql)
  local statement = self.statements[sql]
  if not statement then
    local out = query_out()
    check(C.kvb_query_new(self:pointer(), sql, #sql, out))
    statement = ffi.gc(out[0], C.kvb_query_free)
    self.statements[sql] = statement
  end
  return statement
end

--- Forgets statements: the tables they name have changed.
function Db:forget()
  for _, statement in pairs(self.statements) do C.kvb_query_free(ffi.gc(statement, nil)) end
  self.statements = {}
end

--- Binds one value to parameter i (from 1) of a prepared statement.
function M.bind(statement, i, value)
  local kind = type(value)
  if kind == "number" then check(C.kvb_query_bind_number(statement, i, value))
  elseif kind == "string" then check(C.kvb_query_bind_text(statement, i, value, #value))
  elseif kind == "boolean" then check(C.kvb_query_bind_number(statement, i, value and 1 or 0))
  elseif value == nil then check(C.kvb_query_bind_null(statement, i))
  elseif getmetatable(value) == Blob then
    check(C.kvb_query_bind_blob(statement, i, value.text, #value.text))
  else
    error(("a %s cannot be stored -> a number, a text, a boolean or nil"):format(kind), 0)
  end
end

--- The value of column i (from 0) of the row a statement stands at.
function M.value(statement, i)
  local kind = C.kvb_query_kind(statement, i)
  if kind == NUMBER then return C.kvb_query_number(statement, i) end
  if kind == NULL then return nil end
  local data = C.kvb_query_bytes(statement, i, bytes_out)
  return ffi.string(data, bytes_out[0])
end

--- Moves to the next row; false at the end.
function M.step(statement)
  check(C.kvb_query_step(statement, row_out))
  return row_out[0] == 1
end

local function bound(db, sql, ...)
  local statement = db:prepare(sql)
  for i = 1, select("#", ...) do M.bind(statement, i, (select(i, ...))) end
  return statement
end

--- Runs one statement with values.
function Db:exec(sql, ...)
  local statement = bound(self, sql, ...)
  while M.step(statement) do end
end

--- Iterates over the rows of a query; each is an array of values. A loop that is left early should be left by the end
--- of
--- the statement's use: the statement stays where it was until it runs again.
function Db:rows(sql, ...)
  local statement = bound(self, sql, ...)
  local n = C.kvb_query_columns(statement)
  return function()
    if not M.step(statement) then return nil end
    local row = {}
    for i = 1, n do row[i] = M.value(statement, i - 1) end
    return row
  end
end

--- The first row of a query as several values; nothing when there is none.
function Db:row(sql, ...)
  local statement = bound(self, sql, ...)
  if not M.step(statement) then return end
  local values, n = {}, C.kvb_query_columns(statement)
  for i = 1, n do values[i] = M.value(statement, i - 1) end
  C.kvb_query_reset(statement)
  return unpack(values, 1, n)
end

--- Names of a query's columns.
function Db:names(sql)
  local statement, names = self:prepare(sql), {}
  for i = 0, C.kvb_query_columns(statement) - 1 do names[i + 1] = ffi.string(C.kvb_query_name(statement, i)) end
  return names
end

--- Begins a transaction unless one is open; returns whether this call began it.
function Db:begin()
  if self.writing then return false end
  self:run "BEGIN IMMEDIATE"
  self.writing, self.began = true, C.kvb_time()
  return true
end

--- Makes what was written since begin() last.
function Db:commit()
  if not self.writing then return end
  self:run "COMMIT"
  self.writing = false
end

--- fn() inside a transaction of its own (or in the one that is open); an error undoes it.
function Db:transaction(fn)
  local mine = self:begin()
  local ok, err = pcall(fn)
  if not mine then return ok or error(err, 0) end
  if ok then ok, err = pcall(self.commit, self) end
  if not ok then
    self.writing = false
    C.kvb_store_run(self:pointer(), "ROLLBACK") -- SQLite may have done it already; the first error is what counts
    error(err, 0)
  end
end

--- A name as an SQL identifier.
function M.quote(name) return '"' .. name:gsub('"', '""') .. '"' end

return M
