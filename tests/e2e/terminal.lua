-- SPDX-License-Identifier: Apache-2.0
-- A program on a pseudo-terminal, as a person at a keyboard has it: what is typed goes through the line discipline
-- (Ctrl-C
-- is a signal), what is shown is read as it comes. Every wait has a limit, and fails with what was on the screen.
local ffi = require "ffi"
ffi.cdef [[
int posix_openpt(int flags); int grantpt(int fd); int unlockpt(int fd); int ptsname_r(int fd, char *name, size_t room);
typedef struct { int fd; short events, revents; } terminal_poll;
int poll(terminal_poll *fds, unsigned long n, int timeout); int close(int fd);
ssize_t read(int fd, void *to, size_t n); ssize_t write(int fd, const void *from, size_t n);
typedef struct { unsigned short rows, columns, x, y; } terminal_size;
int ioctl(int fd, unsigned long request, ...);
]]
local C = ffi.C
local O_RDWR, O_NOCTTY, O_CLOEXEC, POLLIN, TIOCSWINSZ = 2, 256, 524288, 1, 0x5414

local M = {}
local Terminal = {}
Terminal.__index = Terminal

local LIMIT = 30000 -- ms; far more than anything takes, for a machine that is busy with other things

--- Starts a shell command line in `folder` with a terminal of 80 columns.
function M.start(command, folder)
  local fd = C.posix_openpt(O_RDWR + O_NOCTTY + O_CLOEXEC)
  assert(fd >= 0 and C.grantpt(fd) == 0 and C.unlockpt(fd) == 0, "no pseudo-terminal")
  local name = ffi.new "char[128]"
  assert(C.ptsname_r(fd, name, 128) == 0)
  C.ioctl(fd, TIOCSWINSZ, ffi.new("terminal_size", { 24, 80, 0, 0 }))
  local path = ffi.string(name)
  -- A session leader without a terminal gets the one it opens first: the redirections belong inside.
  local inner = ("exec <%s >%s 2>&1; %s; echo; echo exit status $?"):format(path, path, command)
  os.execute(("cd '%s' && TERM=xterm setsid sh -c '%s' &"):format(folder, (inner:gsub("'", "'\\''"))))
  return setmetatable({ fd = fd, screen = "", seen = 1 }, Terminal)
end

--- Types text as it stands ("\n" is the Enter key, "\3" Ctrl-C, "\t" Tab).
function Terminal:type(text)
  text = text:gsub("\n", "\r")
  assert(tonumber(C.write(self.fd, text, #text)) == #text)
  return self
end

--- Waits until `words` (plain text) are shown after what was waited for before; returns what was shown until then.
function Terminal:wait(words)
  local buffer = ffi.new "char[4096]"
  while true do
    local from, to = self.screen:find(words, self.seen, true)
    if from then
      local shown = self.screen:sub(self.seen, to)
      self.seen = to + 1
      return shown
    end
    local ready = C.poll(ffi.new("terminal_poll", { self.fd, POLLIN, 0 }), 1, LIMIT)
    local n = ready > 0 and tonumber(C.read(self.fd, buffer, 4096)) or 0
    if n <= 0 then
      error(("the terminal %s before it showed %q; the last of it:\n%s"):format(ready > 0 and "was closed"
        or "was silent", words, self.screen:sub(-1500)), 0)
    end
    self.screen = self.screen .. ffi.string(buffer, n)
  end
end

--- Hangs up.
function Terminal:close() C.close(self.fd) end

return M
