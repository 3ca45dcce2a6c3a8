--- What still runs from before this repository was moved. Its scope has the name of the old place, where no command finds a
--- repository any more; the kernel knows better: the working directory of a process goes with a move.
local fs = require 'envctl.host.fs'
local procfs = require 'envctl.host.procfs'
local path = require 'envctl.util.path'
local paths_of = require 'envctl.state.paths'
local store = require 'envctl.state.store'

local M = {}

---@class envctl.Moved
---@field paths envctl.Paths of the scope of the old place
---@field root string the old place
---@field names string[] display names of the services that run, sorted

-- Where the repository was when a service of a scope was started, when it is here now. The name of the scope is the proof: what
-- somebody moved here out of another repository is not ours to end.
local function old_place(record, scope_id, root)
  local now = require('envctl.resume.observe').service(record) == true and procfs.cwd(record.identity.pid)
  local rest = now and path.below(now, root)
  local old = rest and record.cwd or ''
  if rest and rest ~= '' then
    old = old:sub(-#rest - 1) == '/' .. rest and old:sub(1, -#rest - 2) or ''
  end
  return old ~= '' and paths_of.scope_id(old) == scope_id and select(3, fs.stat(old)) == 'ENOENT' and old or nil
end

--- Scopes of old places of this repository of which something runs. Reads only; a state that cannot be read is nobody's.
---@param ctx envctl.Context
---@return envctl.Moved[]
function M.find(ctx)
  local out = {}
  for _, entry in ipairs(fs.list(ctx.paths.durable_root) or {}) do
    local paths, names, root = paths_of.of_scope(ctx.paths, entry.name), {}, nil
    local ok, doc = pcall(store.read, paths)
    for name, record in pairs(entry.name ~= ctx.paths.scope_id and ok and doc and doc.services or {}) do
      local old = old_place(record, entry.name, ctx.roots.root)
      if old then
        names[#names + 1], root = name, old
      end
    end
    if root then
      table.sort(names)
      out[#out + 1] = { paths = paths, root = root, names = names }
    end
  end
  return out
end

--- As one sentence, for commands that find nothing of their own; nil when there is nothing to say.
---@param ctx envctl.Context
---@return string?
function M.notice(ctx)
  local found = M.find(ctx)[1]
  local text = 'this repository was moved from %s while this ran, and it goes on: %s; `envctl stop-all` ends it'
  return found and text:format(found.root, require('envctl.util.names').listed(found.names)) or nil
end

return M
