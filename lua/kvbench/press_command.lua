-- SPDX-License-Identifier: Apache-2.0
-- kvbench press list | new NAME | check FILE: the registry, a skeleton, and what a press does before anyone believes
-- it.
local args = require "kvbench.args"
local find = require "kvbench.press_find"
local library = require "kvbench.ffi"
local presses = require "kvbench.press"
local text = require "kvbench.text"
local C, check = library.C, library.check

local M = {}

local USAGE = "usage: kvbench press list | new NAME | check FILE_OR_NAME [--model NAME | --model none] [--passages 4]"

local function misused(message, ...) error(args.finish(2, message:format(...)), 0) end

-- ---- list ----

local function needs_of(press)
  local list = {}
  for name, value in pairs(press.needs) do
    list[#list + 1] = type(value) == "number" and ("%s %d"):format(name:gsub("_", " "), value) or name
  end
  table.sort(list)
  local params = press.rule.params or {}
  if params.path or params.stats_folder then
    list[#list + 1] = params.on_the_fly_scoring and "or a file" or "a file"
  end
  return #list > 0 and table.concat(list, ", ") or "-"
end

-- Who shares a set or a budget.
local function scope_of(press)
  local rule = press.rule
  if rule.decoding then return "sequence" end
  if rule.one_set then return "one set per " .. rule.one_set end
  if rule.thresholds and press.scope == "head" and rule.from_scores then return "layer budget" end
  return press.scope
end

--- Rows {name, scope, budget, needs, paper, doc} of every press; one that does not load says why.
function M.rows()
  local rows = {}
  for _, name in ipairs(presses.list()) do
    local ok, press = pcall(presses, name)
    if ok then
      local inner = press.params.of
      local of = inner and inner.label and "; of " .. inner:label() or ""
      rows[#rows + 1] = { name, scope_of(press), press.budget, needs_of(press), press.paper or "-",
        (press.doc or ""):gsub("%.$", "") .. of, alias = press.name ~= press.rule.name and press.rule.name }
    else
      rows[#rows + 1] = { name, "?", "?", "?", "-", tostring(press):gsub("\n.*", "") }
    end
  end
  return rows
end

local function list()
  local rows = M.rows()
  table.insert(rows, 1, { "press", "scope", "budget", "needs", "paper", "what it does" })
  local width = {}
  for _, row in ipairs(rows) do
    for i = 1, 5 do width[i] = math.max(width[i] or 0, #row[i]) end
  end
  local room = C.kvb_terminal_width(1) -- 0: no terminal, nothing is cut
  for _, row in ipairs(rows) do
    local cells = {}
    for i = 1, 5 do cells[i] = row[i] .. (" "):rep(width[i] - #row[i]) end
    cells[6] = (row.alias and "(alias of " .. row.alias .. ") " or "") .. row[6]
    local line = table.concat(cells, "  ")
    print(room > 0 and #line > room and line:sub(1, room - 3) .. "..." or line)
  end
end

-- ---- new ----

local SKELETON = [==[
-- One line about the idea: which keys and values does it keep, and why should that work?
--
-- kvbench press check press/@NAME@.lua   tests it, compares it and shows where answers break
-- kv.press("@NAME@", {window = 16})      uses it: in scripts, sweeps and the prompt; edits count at once
local tensor = require "kvbench.tensor"

return {
  name = "@NAME@",
  paper = nil, -- "arXiv:...."
  doc = "Keeps the keys of smallest norm, and the last tokens.",
  params = {
    window = { default = 8, min = 0, integer = true, doc = "last tokens that always stay" },
  },
  -- needs = { queries = true },       -- observed during prefill only if declared; also { window_queries = n }
  -- scope = "head",                   -- or "layer", "model": over what tokens compete
  -- nested = true, budget = "exact",  -- what `press check` holds it to

  --- [layers, kv_heads, tokens], higher = keep, math.huge = always. ctx.keys and ctx.values are [layers, kv_heads,
  --- tokens, head_dim], keys after RoPE; ctx.queries [layers, heads, tokens, head_dim] before RoPE, if declared.
  --- You may be given a block of the model's layers: ctx.layers of them, from ctx.layer_first.
  score = function(self, ctx)
    local window = self:last_of("window", ctx.tokens) -- half of a shorter context, and noted
    local score = -ctx.keys:norm(-1)
    local recent = tensor.arange(ctx.tokens):ge(ctx.tokens - window)
    return tensor.where(recent, math.huge, score)
  end,
}
]==]

local function new(name)
  if not name then misused("kvbench press new: a name is missing; %s", USAGE) end
  if not name:find "^[%a_][%w_]*$" then
    error(("press new: '%s' is no name -> letters, digits and _, as in recent_norm"):format(name), 0)
  end
  local path = ("press/%s.lua"):format(name)
  if C.kvb_path_kind(path) ~= 0 then error(("press new: %s exists -> kvbench press check %s"):format(path, path), 0) end
  for _, known in ipairs(presses.list()) do
    if known == name then error(("press new: kvbench has a press '%s' itself -> choose another name"):format(name),
      0) end
  end
  check(C.kvb_dir_make "press")
  local content = SKELETON:gsub("@NAME@", name)
  check(C.kvb_file_write(path, content, #content))
  print(("%s is written; next: kvbench press check %s"):format(path, path))
end

-- ---- check ----

local function print_contract(press)
  local checks, failed = require "kvbench.press_check", 0
  for _, result in ipairs(checks.contract(press)) do
    print(("  %s %-17s %s"):format(result.ok and "ok  " or "FAIL", result.name, result.text))
    if not result.ok then failed = failed + 1 end
  end
  return failed
end

local RATIOS = { 0.5, 0.9 }

local function print_model_part(press, model, passages)
  local checks = require "kvbench.press_check"
  local prompt, dataset = require "kvbench.prompt", require("kvbench.dataset")("base", { size = 3, seed = "A" })
  local peers = checks.peers()
  peers[#peers + 1] = press
  local needs, contexts = presses.needs(peers), {}
  for i, record in ipairs(dataset.records) do
    contexts[i] = model:prefill(prompt.render("fewshot", record, { regime = "agnostic", model = model }).context, needs)
  end
  print(("\nlikeness to known rules on %s (Jaccard of kept tokens; %d contexts of about %d tokens)"):format(model.name,
    #contexts, contexts[1].tokens))
  print(("  %-34s %8s %8s"):format("", "at .5", "at .9"))
  for i, row in ipairs(checks.compare(press, contexts, RATIOS)) do
    if i <= 6 then print(("  %-34s %8.2f %8.2f"):format(row.label, row[1], row[2])) end
  end
  local ms, launches = checks.cost(press, contexts[1])
  print(("\ncost of nine ratios: %.1f ms per 1,000 tokens, %d launches (ea: %.1f ms)"):format(ms, launches,
    (checks.cost(presses "ea", contexts[1]))))
  for _, ctx in ipairs(contexts) do ctx:close() end
  local list = { 0, 0.5, 0.8, 0.95 }
  local rows, seconds = checks.cliff(press, model, passages, list)
  print(("\nsafety cliff on base, %d passages, agnostic (word F1 / hallucinated share of answerable questions)"):format(
    passages))
  print(("  %-34s %13s %13s %13s %13s"):format("evicted", "0", ".5", ".8", ".95"))
  for _, row in ipairs(rows) do
    local cells = {}
    for i, ratio in ipairs(list) do
      cells[i] = row[ratio] and ("%13s"):format(("%.2f / %.2f"):format(row[ratio].f1, row[ratio].hallucination)) or "-"
    end
    print(("  %-34s %s"):format(row.label, table.concat(cells, " ")))
  end
  print(("  %.0f s; %d passages show a direction, not a result -> experiments/safety_cliff.lua"):format(seconds,
    passages))
end

local function check_press(words)
  local name = table.remove(words, 1)
  if not name or name:sub(1, 1) == "-" then misused("kvbench press check: a file or name is missing; %s", USAGE) end
  local opt = args.parse({ model = "smollm2", passages = 4 }, words)
  if not opt then return 0 end
  if opt.passages < 1 or opt.passages % 1 ~= 0 then misused("--passages wants a whole number of at least 1") end
  local press = presses(name)
  print(("%s: scope %s, budget %s, %s, needs %s"):format(press:label(), scope_of(press), press.budget,
    press.nested and "nested" or "not nested", needs_of(press)))
  local failed = print_contract(press)
  if failed > 0 then
    print(failed == 1 and "one promise does not hold" or ("%d promises do not hold"):format(failed))
    return 1
  end
  if opt.model == "none" then return 0 end
  local ok, model = pcall(require("kvbench.model").load, opt.model)
  if not ok then
    print(("\nwithout a model there is nothing more to see: %s"):format(tostring(model)))
    return 0
  end
  print_model_part(press, model, opt.passages)
  return 0
end

--- `kvbench press ...` with the words after it; returns the exit status.
function M.main(words)
  local verb = table.remove(words, 1)
  if verb == "list" and #words == 0 then return list() end
  if verb == "new" and #words <= 1 then return new(words[1]) end
  if verb == "check" then return check_press(words) end
  if verb and verb ~= "list" and verb ~= "new" then
    misused("no command 'press %s' %s; %s", verb, text.suggest(verb, { "list", "new", "check" }), USAGE)
  end
  misused(USAGE)
end

return M
