-- SPDX-License-Identifier: Apache-2.0
-- Algorithm 1 as a loop: ask, parse, validate, ask again with the reason, and write down each step. Stops at its
-- budget, at Ctrl-C and when the endpoint keeps failing; what is done is kept, and the same command goes on from there.
local audit = require "kvbench.dataset.llm.audit"
local check = require "kvbench.dataset.check"
local parse = require "kvbench.dataset.llm.parse"
local prompts = require "kvbench.dataset.llm.prompt"
local rng = require "kvbench.rng"
local set = require "kvbench.dataset.set"
local sha256 = require "kvbench.dataset.sha256"
local C = require("kvbench.ffi").C
local signal = require "kvbench.signal"

local M = {}

local FAILURES = 5 -- in a row, without any answer: then the run ends
local LONGEST_WAIT = 60

-- What the audit of an earlier run adds up to.
local function replay(lines)
  local s = { done = {}, tries = {}, last = {}, records = {}, calls = 0, tokens = 0, seconds = 0, reasons = {},
    accepted = 0, given_up = 0 }
  for _, line in ipairs(lines) do M.count(s, line) end
  return s
end

--- Adds one audit line to the state.
function M.count(s, line)
  if line.kind == "call" then
    s.calls, s.tokens = s.calls + 1, s.tokens + line.tokens_in + line.tokens_out
    s.tries[line.record] = line.try
    s.last[line.record] = line
    if line.verdict == "accepted" then
      s.done[line.record], s.records[line.record], s.accepted = true, line.stored, s.accepted + 1
    else
      local kind = line.reason:gsub("%[%d+%]", ""):gsub('"%w+"%.?', ""):gsub("'[^']*'", "..."):gsub("%d+", "N")
      s.reasons[kind] = (s.reasons[kind] or 0) + 1
    end
  elseif line.kind == "failure" then s.calls = s.calls + 1
  elseif line.kind == "given up" then s.done[line.record], s.given_up = true, s.given_up + 1 end
  s.seconds = s.seconds + (line.seconds or 0)
end

local function exhausted(s, o)
  if o.max_calls > 0 and s.calls >= o.max_calls then return ("%d calls"):format(s.calls) end
  if o.max_tokens > 0 and s.tokens >= o.max_tokens then return ("%d tokens"):format(s.tokens) end
  if o.max_seconds > 0 and s.seconds >= o.max_seconds then return ("%.0f s"):format(s.seconds) end
end

local Run = {}
Run.__index = Run

function Run:log(line)
  self.audit:add(line)
  M.count(self.state, line)
end

-- One answer, however often the endpoint fails before it. nil and why when the run has to stop.
function Run:ask(i, messages)
  local failures = 0
  while true do
    if signal.cancelled() then return nil, "interrupted" end
    local over = exhausted(self.state, self.o)
    if over then return nil, "the budget is used up (" .. over .. ")" end
    local from = C.kvb_time()
    local ok, reply, problem = pcall(self.provider.ask, messages, { max_new = self.o.max_new,
      seed = rng.hash32(("%s/%d/%d"):format(self.o.seed, i, self.state.tries[i] or 0)) })
    local seconds = C.kvb_time() - from
    if not ok then
      if signal.cancelled() then return nil, "interrupted" end
      error(reply, 0)
    end
    if reply then
      reply.seconds = seconds
      return reply
    end
    failures = failures + 1
    self:log { kind = "failure", record = i, reason = problem.reason, seconds = seconds }
    if problem.fatal then return nil, problem.reason end
    if failures >= FAILURES then return nil, ("%d failures in a row, the last: %s"):format(failures, problem.reason) end
    local wait = math.min(problem.wait or self.o.pause * 2 ^ (failures - 1), LONGEST_WAIT)
    self.o.say(("  %s; next try in %.3g s"):format(problem.reason, wait))
    C.kvb_sleep(wait)
    self.state.seconds = self.state.seconds + wait
  end
end

-- The writer knows its facts by id, not by place.
local function by_id(reason, record)
  return (reason:gsub("facts%[(%d+)%]", function(k)
    local fact = record.facts[tonumber(k)]
    return fact and type(fact.id) == "string" and 'fact "' .. fact.id .. '"' or nil
  end))
end

-- One record: up to o.tries answers. nil = go on, else why the run stops.
function Run:record(i)
  local first = prompts.messages(self.task, i)
  local id = ("%s-llm-%s-%04d"):format(self.task.name, self.o.seed, i)
  local last = self.state.last[i]
  local messages = last and prompts.retry(first, last.raw, last.reason) or first
  for try = (self.state.tries[i] or 0) + 1, self.o.tries do
    local reply, stop = self:ask(i, messages)
    if not reply then return stop end
    local record, replaced = parse.record(reply.text, id, self.task.name, rng.new("kvbench/llm/" .. id))
    local ok, reason = false, replaced
    if record then
      ok, reason = check.check(record, self.task.rules)
      reason = reason and by_id(reason, record)
    end
    if ok and self.passages[record.passage] then ok, reason = false, "passage: the same as an earlier record's" end
    self:log { kind = "call", record = i, try = try, verdict = ok and "accepted" or "rejected", reason = reason,
      prompt = messages, raw = reply.text, replaced = record and replaced or nil, stored = ok and record or nil,
      tokens_in = reply.tokens_in, tokens_out = reply.tokens_out, seconds = reply.seconds }
    self.o.say(("record %d, try %d: %s"):format(i, try, ok and "accepted" or "rejected: " .. reason))
    if ok then
      self.passages[record.passage] = true
      return
    end
    messages = prompts.retry(first, reply.text, reason)
  end
  self:log { kind = "given up", record = i }
end

--- Generates records of a task.
--   o  task (table), provider, n, seed, tries, max_new, max_calls, max_tokens, max_seconds (0 = no limit), out, fresh,
--      pause (seconds after a first failure), say (function(line))
-- Returns {set = dataset or nil, accepted, given_up, calls, tokens, seconds, reasons, stopped = why or nil}.
function M.generate(o)
  local known = {}
  for _, name in ipairs(prompts.tasks()) do known[name] = true end
  if not known[o.task.name] then
    error(("task '%s' is not written by a model -> one of: %s"):format(o.task.name,
      table.concat(prompts.tasks(), ", ")), 0)
  end
  local prompt = sha256.hex(prompts.messages(o.task, 1)[2].content):sub(1, 16)
  local self = setmetatable({ o = o, task = o.task, provider = o.provider, passages = {} }, Run)
  self.audit = audit.open(o.out .. ".audit.jsonl", { task = o.task.name, seed = o.seed, with = o.provider.name,
    prompt = prompt }, o.fresh)
  self.state = replay(self.audit.lines)
  for _, record in pairs(self.state.records) do self.passages[record.passage] = true end
  local stopped
  for i = 1, o.n do
    if not self.state.done[i] then stopped = self:record(i) end
    if stopped then break end
  end
  self.audit:close()
  local s, records = self.state, {}
  for i = 1, o.n do if s.records[i] then records[#records + 1] = s.records[i] end end
  return { accepted = s.accepted, given_up = s.given_up, calls = s.calls, tokens = s.tokens, seconds = s.seconds,
    reasons = s.reasons, stopped = stopped, set = #records > 0 and set.new(records, { task = o.task.name, seed = o.seed,
      from = o.provider.name }) or nil }
end

return M
