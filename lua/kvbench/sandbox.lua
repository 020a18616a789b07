-- SPDX-License-Identifier: Apache-2.0
-- --sandbox: a press file of someone else as a rule that runs elsewhere. Its code is loaded and called in a child
-- process that may compute and nothing else (core/sandbox.c); this side sends keys, values and what the rule needs
-- besides, and takes back scores. What comes back is data of a known size, or a line of text: nothing is executed.
-- A rule around other presses asks for their scores on the way; they are computed here.
local ffi = require "ffi"
local json = require "kvbench.json"
local library = require "kvbench.ffi"
local options = require "kvbench.options"
local orders = require "kvbench.press_order"
local paths = require "kvbench.paths"
local presses = require "kvbench.press"
local tensor = require "kvbench.tensor"
local words = require "kvbench.words"
local C, check = library.C, library.check

local M = {}

local MOST = 65536 -- bytes of a message that is not scores
local BYTES = 4 * 2 ^ 30 -- of the child's address space
local CPU_SECONDS = 600 -- in its life

--- Wall seconds an answer may take: KVB_SANDBOX_SECONDS, 60 unless told.
function M.seconds() return tonumber(os.getenv "KVB_SANDBOX_SECONDS") or 60 end

--- Is this file someone else's: not one of kvbench's own?
function M.foreign(path) return path:sub(1, #paths.lua + 1) ~= paths.lua .. "/" end

--- Is this script none of those that come with kvbench, in its folders by whatever path?
function M.foreign_script(path)
  local folder, relative = path:match "^(.*)/[^/]*$" or ".", path:sub(1, 1) ~= "/"
  repeat
    for _, own in ipairs { paths.lua, paths.experiments, paths.at "tests" } do
      if C.kvb_path_same(folder, own) == 1 then return false end
    end
    local above, last = folder:match "^(.*)/([^/]*)$"
    if (last or folder) == ".." then break end -- what is above it is not what the text says
    folder = above or relative and folder ~= "." and "." or ""
  until folder == ""
  return true
end

--- An error unless `path` may run with --sandbox, which holds presses: a script could do whatever the user can, so one
--- that is not kvbench's own wants a word more.
function M.check_script(path, name)
  if not options.sandbox or options.trust or not M.foreign_script(path) then return end
  words.misused("--sandbox runs press files of others, not scripts: '%s' could do whatever you can -> kvbench "
    .. "--sandbox press check %s if it is a press, --sandbox --trust if the script is yours", name, name)
end

-- ---- talking to the child ----

local function start(child)
  local words = { "/proc/self/exe", "--sandbox-child" } -- what the forked child is, too: this binary
  local set = { "OMP_NUM_THREADS=1", "GOMP_SPINCOUNT=0", "LC_ALL=C", "KVBENCH_HOME=" .. paths.home,
    os.getenv "KVB_CPU_TIER" and "KVB_CPU_TIER=" .. os.getenv "KVB_CPU_TIER" or nil }
  local out = ffi.new "kvb_sandbox *[1]"
  check(C.kvb_sandbox_start(ffi.new("const char *[3]", words), ffi.new("const char *[6]", set), out))
  child.handle = ffi.gc(out[0], C.kvb_sandbox_close)
end

local function stop(child)
  if child.handle then C.kvb_sandbox_close(ffi.gc(child.handle, nil)) end
  child.handle = nil
end

-- The child is not asked again after anything went wrong: what state it is in is its own affair.
local function sure(child, status)
  if status == C.KVB_OK then return end
  local why = library.diagnostic()
  stop(child)
  error(("press '%s' in the sandbox: %s"):format(child.name, why), 0)
end

local function send(child, data, bytes)
  sure(child, C.kvb_sandbox_send(child.handle, data, bytes, M.seconds()))
end

local function receive_size(child)
  local size = ffi.new "uint64_t[1]"
  sure(child, C.kvb_sandbox_receive(child.handle, size, 8, M.seconds()))
  return tonumber(size[0])
end

local function refuse(child, why)
  stop(child)
  error(("press '%s' in the sandbox: %s"):format(child.name, why), 0)
end

-- A line of text: no control characters, not endless.
local function line(text)
  if type(text) ~= "string" then return "failed without a reason" end
  return (text:sub(1, 500):gsub("[%c\127-\255]", " "))
end

local function tell(child, message, tensors)
  local head, text = json.encode(message), message.load and child.text or ""
  send(child, ffi.new("uint64_t[1]", #head), 8)
  send(child, head, #head)
  send(child, text, #text) -- any bytes, which JSON cannot hold
  for _, t in ipairs(tensors or {}) do send(child, t.data, t:numel() * 4) end
end

local function hear(child)
  local bytes = receive_size(child)
  if bytes > MOST then refuse(child, ("an answer of %.0f bytes where at most %d are sensible"):format(bytes, MOST)) end
  local buffer = ffi.new("char[?]", math.max(bytes, 1))
  sure(child, C.kvb_sandbox_receive(child.handle, buffer, bytes, M.seconds()))
  local ok, answer = pcall(json.decode, ffi.string(buffer, bytes), "its answer")
  if not ok or type(answer) ~= "table" then refuse(child, "its answer is not what was agreed") end
  return answer
end

-- Sends a request and returns the answer's table. inner(call): the scores of another press that the child asks for
-- before it answers, and their shape.
local function ask(child, request, tensors, inner)
  if not child.handle then start(child) end
  tell(child, request, tensors)
  local answer, until_ = hear(child), C.kvb_time() + M.seconds()
  while inner and answer.call ~= nil do
    if C.kvb_time() > until_ then
      refuse(child, ("asks for the scores of others for more than %g seconds"):format(M.seconds()))
    end
    local ok, made = pcall(inner, answer)
    if ok then tell(child, { shape = made:size() }, { made })
    else tell(child, { error = line(made) }) end
    answer = hear(child)
  end
  if answer.error ~= nil then error(("press '%s' in the sandbox: %s"):format(child.name, line(answer.error)), 0) end
  return answer
end

-- ---- the rule on this side ----

local SIZES = { "layers", "layer_first", "heads", "kv_heads", "group_size", "head_dim", "tokens", "token_first",
  "parent_tokens", "seed", "evictable" }

-- What a rule may see, as contiguous f32 on the host.
local function observed(rule, ctx)
  local list, shapes = {}, {}
  local needs = rule.needs or {}
  for _, name in ipairs { "keys", "values", (needs.queries or needs.window_queries) and "queries" or false,
    needs.hidden and "hidden" or false } do
    if name then
      local t = ctx[name]:cpu():to("f32"):contiguous()
      list[#list + 1], shapes[#shapes + 1] = t, { name = name, shape = t:size() }
    end
  end
  return list, shapes
end

-- Parameters as data; a press by its label, under `presses`.
local function plain(params)
  local out, inner = setmetatable({}, json.object), setmetatable({}, json.object)
  for name, value in pairs(params) do
    if presses.is(value) then
      inner[name] = value:label()
    elseif type(value) ~= "number" and type(value) ~= "string" and type(value) ~= "boolean" then
      error(("parameter '%s' is a %s -> in the sandbox: numbers, texts, true or false, one press"):format(name,
        type(value)), 0)
    else
      out[name] = value
    end
  end
  return out, inner
end

local function whole(value, low, high)
  return type(value) == "number" and value == math.floor(value) and value >= low and value <= high
end

-- What a child that asks for another press's scores gets: of a press among the rule's own parameters, on tokens of this
-- context, nothing else.
local function inner_scores(press, ctx)
  return function(call)
    local name, from, to, ratio = call.call, call.from, call.to, call.ratio
    local inner = type(name) == "string" and rawget(press.params, name)
    if not presses.is(inner) then error("it has no press of that name among its parameters", 0) end
    if not whole(from, 0, ctx.tokens - 1) or not whole(to, from + 1, ctx.tokens) then
      error("asks for the scores of tokens outside the context", 0)
    end
    if ratio ~= nil and not (type(ratio) == "number" and ratio >= 0 and ratio < 1) then
      error("asks for scores at a ratio outside [0, 1)", 0)
    end
    local part = from == 0 and to == ctx.tokens and ctx or ctx:select(from, to)
    return orders.checked_score(inner, part, ratio):cpu():to("f32"):contiguous()
  end
end

local function score_of(child)
  return function(self, ctx, ratio)
    local tensors, shapes = observed(child.rule, ctx)
    local sizes = {}
    for _, name in ipairs(SIZES) do sizes[name] = ctx[name] end
    if type(sizes.seed) ~= "number" then sizes.seed = tostring(sizes.seed or 0) end
    local ok, params, inner = pcall(plain, self.params)
    if not ok then error(("press '%s': %s"):format(child.name, params), 0) end
    if not child.handle then ask(child, child.request) end
    local answer = ask(child, { ctx = sizes, tensors = shapes, params = params, presses = inner, ratio = ratio },
      tensors, inner_scores(self, ctx))
    local out = tensor.on("cpu", tensor.zeros, ctx.layers, ctx.kv_heads, ctx.tokens)
    local bytes = receive_size(child)
    if bytes ~= out:numel() * 4 then
      refuse(child, ("its score has %.0f bytes, expected [layers %d, kv_heads %d, tokens %d]"):format(bytes, ctx.layers,
        ctx.kv_heads, ctx.tokens))
    end
    sure(child, C.kvb_sandbox_receive(child.handle, out.data, bytes, M.seconds()))
    for _, note in ipairs(type(answer.notes) == "table" and answer.notes or {}) do self:note(line(note)) end
    return out:to(ctx.device or "cpu")
  end
end

local declared = { doc = "string", paper = "string", scope = "string", budget = "string", nested = "boolean",
  ratio_dependent = "boolean", whole = "boolean", needs = "table", params = "table", aliases = "table" }

--- The rule of a foreign press file, for press_find: what it declares as data, and a score that asks the child.
function M.rule(path, text)
  local child = { name = path, text = text, request = { load = #text, path = line(path) } }
  local answer = ask(child, child.request)
  local rule = { name = type(answer.name) == "string" and line(answer.name) or nil, score = score_of(child) }
  for name, kind in pairs(declared) do
    local value = answer[name]
    if type(value) == kind then rule[name] = kind == "string" and line(value) or value end
  end
  child.rule, child.name = rule, rule.name or path
  return rule
end

--- The limits of a child, for sandbox_child.lua.
M.limits = { bytes = BYTES, cpu_seconds = CPU_SECONDS, message = 64 * 1024 * 1024 }

return M
