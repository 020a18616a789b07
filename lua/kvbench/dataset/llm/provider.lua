-- SPDX-License-Identifier: Apache-2.0
-- Who answers: an OpenAI-compatible endpoint or a loaded model, behind one function:
--   ask(messages, opt) -> {text, tokens_in, tokens_out}, or nil, {reason, fatal =, wait = seconds}
-- fatal: asking again is pointless. wait: the endpoint asks for this pause.
local http = require "kvbench.http"
local json = require "kvbench.json"

local M = {}

local function is_url(with) return with:find("^https?://") ~= nil end

-- What is wrong with an HTTP status other than 200, from the body's first words.
local function refusal(reply, key_variable)
  local detail = reply.body:gsub("%c+", " "):sub(1, 200)
  local reason = ("HTTP %d: %s"):format(reply.status, detail)
  if reply.status == 401 or reply.status == 403 then
    return { reason = ("%s -> is the key in $%s right?"):format(reason, key_variable), fatal = true }
  end
  if reply.status == 429 or reply.status >= 500 then
    return { reason = reason, wait = reply.retry_after > 0 and reply.retry_after or nil }
  end
  return { reason = reason, fatal = true }
end

local function endpoint(url, opt)
  if url:find("^%a+://[^/]*@") then error("an address with a key in it -> put the key into $" .. opt.key_variable,
    0) end
  url = url:gsub("/+$", "")
  if not url:find("/chat/completions$") then url = url .. "/chat/completions" end
  local function ask(messages, o)
    local reply, problem = http.post(url, { model = opt.model or "default", messages = messages,
      max_tokens = o.max_new, temperature = opt.temperature, seed = o.seed }, { key_variable = opt.key_variable,
      seconds = opt.timeout })
    if not reply then return nil, { reason = problem } end
    if reply.status ~= 200 then return nil, refusal(reply, opt.key_variable) end
    local ok, value = pcall(json.decode, reply.body, "answer")
    local choice = ok and type(value) == "table" and json.is_array(value.choices) and value.choices[1]
    local message = type(choice) == "table" and choice.message
    if type(message) ~= "table" or type(message.content) ~= "string" then
      return nil, { reason = "the endpoint's answer holds no choices[1].message.content: "
        .. reply.body:gsub("%c+", " "):sub(1, 120) }
    end
    local usage = type(value.usage) == "table" and value.usage or {}
    local function tokens(field, s) -- where the endpoint does not count: four bytes a token
      return type(usage[field]) == "number" and usage[field] or math.ceil(#s / 4)
    end
    local sent = ""
    for _, m in ipairs(messages) do sent = sent .. m.content end
    return { text = message.content, tokens_in = tokens("prompt_tokens", sent),
      tokens_out = tokens("completion_tokens", message.content) }
  end
  return { ask = ask, name = url:gsub("[?#].*$", "") .. (opt.model and " " .. opt.model or "") }
end

local function loaded(name)
  local model = require("kvbench.model").load(name)
  local chat = require "kvbench.prompt.chat"
  local template = chat.detect(model)
  local function ask(messages, o)
    local whole, head = chat.render(template, messages), chat.render(template, messages, { generation = false })
    local opens = #whole > #head and whole:sub(1, #head) == head
    local ctx = model:prefill(opens and head or whole)
    local result = ctx:generate(opens and whole:sub(#head + 1) or "\n", { max_new_tokens = o.max_new })
    local out = { text = result.text, tokens_in = ctx.tokens, tokens_out = #result.ids }
    ctx:close()
    return out
  end
  return { ask = ask, name = model.name .. " (" .. template .. ")", close = function() model:close() end }
end

--- A provider of a URL or of a model's name. opt: model, key_variable, timeout, temperature.
function M.open(with, opt) return is_url(with) and endpoint(with, opt) or loaded(with) end

return M
