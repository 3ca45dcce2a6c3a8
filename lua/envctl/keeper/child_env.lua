--- The environment of a child: the user's, without what would reach from the outside into git, the loader, Lua or the virtual
--- environment of whoever calls, and without our own markers. Pure.
local M = {}

-- What of GIT_*, LD_*, LUA_* may pass. The rest (GIT_DIR, GIT_INDEX_FILE, LD_PRELOAD, LUA_INIT …) belongs to the process that
-- called envctl, for example a git hook, and would redirect the child.
local ALLOWED = {
  GIT_AUTHOR_NAME = true,
  GIT_AUTHOR_EMAIL = true,
  GIT_COMMITTER_NAME = true,
  GIT_COMMITTER_EMAIL = true,
  GIT_SSH = true,
  GIT_SSH_COMMAND = true,
  GIT_ASKPASS = true,
  GIT_TERMINAL_PROMPT = true,
  GIT_CONFIG_GLOBAL = true,
  GIT_CONFIG_NOSYSTEM = true,
  LD_LIBRARY_PATH = true,
}

-- VIRTUAL_ENV: poetry and pipenv would install into the caller's.
local DROPPED = { ENVCTL_SERVICE = true, ENVCTL_SCOPE = true, VIRTUAL_ENV = true }

---@param base table<string, string>
---@return table<string, string>
function M.clean(base)
  local out = {}
  for name, value in pairs(base) do
    local guarded = name:find('^GIT_') or name:find('^LD_') or name:find('^LUA_')
    if not DROPPED[name] and (not guarded or ALLOWED[name]) then
      out[name] = value
    end
  end
  return out
end

return M
