--- What the keeper does about a log that a service writes: it gives back the disk space of old lines when there is more than the
--- cap (the file keeps its length and its name, so that the service, which appends, and readers notice nothing), and notes when it
--- grew. It is woken by the kernel when the file changes; a silent log costs nothing.
local fs = require 'envctl.host.fs'
local sys = require 'envctl.host.sys'
local loop = require 'envctl.host.loop'
local log_times = require 'envctl.state.log_times'

local M = {}

-- A fast disk takes some 60 MB in the time between two looks; more often would cost a flooding service's keeper a whole core.
local LOOK_MS = 20
local NOTE_MS = 1000
local UNWATCHED_MS = 1000 -- when the kernel gives out no more watches
local BLOCK = 4096

local function trim(path, max_bytes, allowed)
  local stat = fs.stat(path)
  if not stat or stat.size <= max_bytes or stat.size - (fs.data_start(path) or 0) <= max_bytes or not allowed() then
    return
  end
  -- Half of the cap stays, so that this is done now and then, and not for every line.
  local ok, _, code = fs.punch(path, (stat.size - max_bytes // 2) // BLOCK * BLOCK)
  if not ok and code == 'EOPNOTSUPP' then
    fs.truncate(path, 0) -- a file system without holes: the log begins anew
  end
end

---@class envctl.LogWatch
---@field close fun(self) looks once more, and ends; idempotent

--- Watches a log until closed.
---@param path string
---@param max_bytes fun(): integer? the cap now; nil is none
---@param allowed fun(): boolean? whether the place is still one to write to
---@return envctl.LogWatch
function M.watch(path, max_bytes, allowed)
  local noted, waiting, noting, look
  local function note()
    local stat = fs.stat(path)
    noting = nil
    if stat and stat.size ~= noted and allowed() then
      noted = stat.size
      log_times.note(path, sys.wall_ms(), noted)
    end
  end
  local function check()
    local max = max_bytes()
    if max then
      trim(path, max, allowed)
    end
  end
  local function wait()
    waiting = loop.changed(path, function()
      waiting = loop.timer(LOOK_MS, look)
    end) or loop.timer(UNWATCHED_MS, look)
  end
  function look()
    check()
    noting = noting or loop.timer(NOTE_MS, note)
    wait()
  end
  local function close()
    if waiting then
      waiting:close()
      waiting = nil
      if noting then
        noting:close()
      end
      check()
      note()
    end
  end
  note()
  check()
  wait()
  return setmetatable({ close = close }, { __close = close })
end

return M
