-- SPDX-License-Identifier: Apache-2.0
-- Runs the binary under test as a user would: its own process, its own folder, everything it says captured.
local M = {}

local function read(path)
  local file = assert(io.open(path))
  local content = file:read("*a")
  file:close()
  return content
end

local function quote(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

local function shell(command)
  local pipe = io.popen(command)
  local out = pipe:read("*a")
  pipe:close()
  return out
end

-- The binary that runs this test is the one under test.
M.binary = shell("readlink /proc/$PPID/exe"):match("[^\n]+")
M.folder = shell("mktemp -d"):match("[^\n]+")

function M.write(name, content)
  local path = M.folder .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  return path
end

--- Runs a shell command line in M.folder; $K is the binary. Returns {out =, err =, status =}.
function M.shell(line)
  local out, err = M.folder .. "/.out", M.folder .. "/.err"
  local form = "cd %s && K=%s && XDG_STATE_HOME=%s && export XDG_STATE_HOME && { %s\n} >%s 2>%s; echo $?"
  local status = shell(form:format(quote(M.folder), quote(M.binary), quote(M.folder), line, quote(out), quote(err)))
  return { out = read(out), err = read(err), status = tonumber(status) }
end

--- Runs the binary with these words as its arguments.
function M.run(...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = quote((select(i, ...))) end
  return M.shell("timeout 120 $K " .. table.concat(words, " ") .. " </dev/null")
end

function M.done() os.execute("rm -rf " .. quote(M.folder)) end

return M
