--- What somebody typed -> a name that there is. A name fits exactly, else without regard to case, else as the only one that
--- begins with it; what is written like a branch, `a/b`, stands for the name `a-b`. Pure.
local M = {}

---@param token string
---@param names string[]
---@return string[] hits each once, in the order of `names`; what the strictest rule finds that finds any
function M.matching(token, names)
  local lower = token:lower()
  local rules = {
    function(name)
      return name == token
    end,
    function(name)
      return name:lower() == lower
    end,
    function(name)
      return lower ~= '' and name:lower():sub(1, #lower) == lower
    end,
  }
  for _, fits in ipairs(rules) do
    local hits, seen = {}, {}
    for _, name in ipairs(names) do
      if not seen[name] and fits(name) then
        seen[name] = true
        hits[#hits + 1] = name
      end
    end
    if #hits > 0 then
      return hits
    end
  end
  return token:find('/', 1, true) and M.matching(token:gsub('/', '-'), names) or {}
end

-- More than these say nothing to anybody.
local MAX_SHOWN = 20

--- The keys of a table, in order.
---@param t table<string, any>
---@return string[]
function M.sorted(t)
  local keys = {}
  for k in pairs(t) do
    keys[#keys + 1] = k
  end
  table.sort(keys)
  return keys
end

--- Names as part of a sentence.
---@param names string[]
---@return string
function M.listed(names)
  return table.concat(names, ', ', 1, math.min(#names, MAX_SHOWN)) .. (#names > MAX_SHOWN and ', …' or '')
end

-- `envctl stop backend` is what one tries first. A word is a project, though, or what it means would depend on what else there is.
local OF_PROJECTS = '; a service is named with --service'

--- The error for a name that fits nothing, or several.
---@param kind string 'project', 'service', …
---@param token string
---@param hits string[] what it fits
---@param known string[] all names
---@return {code: 'ambiguous_target'|'unknown_target', message: string, hint: string, candidates: string[]}
function M.problem(kind, token, hits, known)
  if #hits > 1 then
    return {
      code = 'ambiguous_target', message = ('%s "%s" fits several: %s'):format(kind, token, M.listed(hits)),
      hint = 'give the whole name', candidates = hits,
    }
  end
  local near = require('envctl.util.suggest').nearest(token, known)
  local hint = 'there is none'
  if #known > 0 then
    hint = 'known: ' .. M.listed(known) .. (kind == 'project' and OF_PROJECTS or '')
  end
  return {
    code = 'unknown_target', message = ('there is no %s "%s"'):format(kind, token), candidates = known,
    hint = (near and 'did you mean ' .. near .. '? ' or '') .. hint,
  }
end

--- The same for a project that has to run.
---@param token string
---@param running string[]
---@return table
function M.not_running(token, running)
  return {
    code = 'requested_project_not_running', message = ('project "%s" is not running'):format(token),
    candidates = running,
    hint = #running > 0 and 'running: ' .. M.listed(running) .. OF_PROJECTS or 'nothing is running; start it first',
  }
end

return M
