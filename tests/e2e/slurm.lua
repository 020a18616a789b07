-- SPDX-License-Identifier: Apache-2.0
-- A Slurm of its own for a test: munged, slurmctld and slurmd of one node, with keys, ports, state and logs in one
-- folder. It touches nothing of a Slurm that the machine may have, and stop() leaves no process behind.
local C = require("kvbench.ffi").C

local M = {}

local function quote(word) return "'" .. word .. "'" end

local function shell(line)
  local pipe = io.popen(line .. " 2>&1; echo $?")
  local out, status = pipe:read("*a"):match "^(.-)\n?(%d+)\n$"
  pipe:close()
  return out, tonumber(status)
end

--- Why there can be none here, or nil.
function M.why_not()
  if shell "id -u" ~= "0" then return "needs root" end
  for _, name in ipairs { "slurmctld", "slurmd", "sbatch", "munged" } do
    if select(2, shell("PATH=$PATH:/usr/sbin command -v " .. name)) ~= 0 then
      return ("no %s -> apt-get install $(cat tests/packages.txt)"):format(name)
    end
  end
  if select(2, shell "grep -q ' /sys/fs/cgroup ' /proc/mounts") ~= 0 then
    return "nothing is mounted at /sys/fs/cgroup, and slurmd does not start without it"
  end
end

local CONF = [[
ClusterName=kvbenchtest
SlurmctldHost=HOST(127.0.0.1)
SlurmctldPort=PORT
SlurmdPort=DPORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=DIR/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=DIR/ctl
SlurmdSpoolDir=DIR/d
SlurmctldPidFile=DIR/ctl.pid
SlurmdPidFile=DIR/d.pid
SlurmctldLogFile=DIR/ctl.log
SlurmdLogFile=DIR/d.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
KillWait=3
ReturnToService=1
MpiDefault=none
NodeName=HOST NodeAddr=127.0.0.1 CPUs=CORES RealMemory=1000 State=UNKNOWN
PartitionName=p Nodes=HOST Default=YES MaxTime=INFINITE State=UP
]]

local Slurm = {}
Slurm.__index = Slurm

--- A shell line with this Slurm's clients. Returns output, status.
function Slurm:shell(line)
  return shell(("{ export SLURM_CONF=%s PATH=$PATH:/usr/sbin; %s\n}"):format(quote(self.folder .. "/slurm.conf"), line))
end

--- Calls look() a few times a second until it gives something true; false after `seconds`.
function M.wait(seconds, look)
  local until_ = C.kvb_time() + seconds
  repeat
    local value = look()
    if value then return value end
    C.kvb_sleep(.2)
  until C.kvb_time() > until_
  return false
end

local function pid_in(path)
  local file = io.open(path)
  local pid = file and tonumber(file:read "*l")
  if file then file:close() end
  return pid
end

-- A daemon's pid file may be behind: it must still be the process that was meant.
local function running(pid, name)
  local file = pid and io.open(("/proc/%d/comm"):format(pid))
  local comm = file and file:read "*l"
  if file then file:close() end
  return comm == name
end

--- Starts one in `folder` with `cores` cores; raises with the end of the logs when it does not come up.
function M.start(folder, cores)
  local self = setmetatable({ folder = folder }, Slurm)
  os.execute(("mkdir -p %s/ctl %s/d && chmod 755 %s"):format(folder, folder, folder))
  self.host = shell "hostname -s"
  local port = 20000 + tonumber(C.kvb_process_id()) % 20000
  local file = assert(io.open(folder .. "/slurm.conf", "w"))
  file:write((CONF:gsub("%u+", { HOST = self.host, DPORT = tostring(port + 1), PORT = tostring(port), DIR = folder,
    CORES = tostring(cores) })))
  file:close()
  self:shell(("mungekey -c -k %s/munge.key"):format(folder))
  local out, status = self:shell(("munged --force --key-file=%s/munge.key --socket=%s/munge.socket "
    .. "--pid-file=%s/munged.pid --log-file=%s/munged.log --seed-file=%s/munged.seed"):format(folder, folder, folder,
    folder, folder))
  if status == 0 then out, status = self:shell "slurmctld" end
  if status == 0 then out, status = self:shell "slurmd" end
  local up = status == 0 and M.wait(20, function() return (self:shell "sinfo -h -o %T"):find "^idle" end)
  if not up then
    out = out .. self:shell(("tail -n 5 %s/*.log"):format(folder))
    self:stop()
    error("Slurm did not start: " .. out, 0)
  end
  return self
end

--- Ends its jobs and daemons.
function Slurm:stop()
  self:shell "scancel --quiet --user=root; scancel --quiet --full --signal=KILL --user=root"
  M.wait(10, function() return self:shell "squeue -h" == "" end)
  for name, file in pairs { slurmd = "d.pid", slurmctld = "ctl.pid", munged = "munged.pid" } do
    local pid = pid_in(self.folder .. "/" .. file)
    if running(pid, name) then
      shell("kill " .. pid)
      if not M.wait(10, function() return not running(pid, name) end) then shell("kill -9 " .. pid) end
    end
  end
end

return M
