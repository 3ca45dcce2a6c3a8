--- How far branches are from their upstreams. What files tell is read from them; the git command counts commits where two ids
--- differ, in one call for all, and answers when the configuration says more than is understood here. Reads only.
local fs = require 'envctl.host.fs'
local git = require 'envctl.host.git'

local M = {}

local CONFIG_BYTES = 1 << 20

---@class envctl.Distance
---@field upstream string? full reference name, nil without an upstream
---@field ahead integer? commits, nil when unknown
---@field behind integer?
---@field reason string? why ahead and behind are nil: no_upstream, gone, git_missing, git_failed, …

--- Upstream reference per branch as the repository's configuration has them.
---@param text string of the configuration file
---@return table<string, string>? refs by branch; nil when only git can tell
function M.parse(text)
  if text:find '\\' or text:lower():find '%[%s*include' or text:lower():find '%[%s*branch%.' then
    return nil
  end
  local branches, fetches, section, name = {}, {}, nil, nil
  for line in text:gmatch '[^\r\n]+' do
    local kind, quoted = line:match '^%s*%[%s*([%w.-]+)%s*"([^"]*)"%s*%]'
    if line:find '^%s*%[' then
      section, name = kind and kind:lower(), quoted
    elseif section == 'branch' or section == 'remote' then
      local key, value = line:match '^%s*(%a[%w-]*)%s*=%s*(.-)%s*$'
      key, value = (key or ''):lower(), (value or ''):gsub('%s+[;#].*$', ''):gsub('^"(.*)"$', '%1')
      if section == 'remote' and key == 'fetch' then
        fetches[name] = fetches[name] and 'several' or value
      elseif section == 'branch' and (key == 'remote' or key == 'merge') then
        branches[name] = branches[name] or {}
        branches[name][key] = value
      end
    end
  end
  local out = {}
  for branch, b in pairs(branches) do
    if b.remote and b.merge then
      local short = b.merge:match '^refs/heads/(.+)$'
      if b.remote == '.' then
        out[branch] = b.merge
      elseif short and fetches[b.remote] == '+refs/heads/*:refs/remotes/' .. b.remote .. '/*' then
        out[branch] = 'refs/remotes/' .. b.remote .. '/' .. short
      else
        return nil
      end
    end
  end
  return out
end

-- Asks git about these branches. Looking never fails because of it.
local function ask(roots, branches, out)
  local args = { 'for-each-ref', '--format=%(refname)%00%(upstream)%00%(upstream:track,nobracket)' }
  for _, branch in ipairs(branches) do
    args[#args + 1] = 'refs/heads/' .. branch
  end
  local ok, result = require('envctl.task').try(require('envctl.repo.gitcmd').run, roots, {
    dir = roots.root, args = args, deadline_ms = 20000,
  })
  local why = not ok and result.code or result.code ~= 0 and 'git_failed' or nil
  for _, branch in ipairs(branches) do
    out[branch] = { reason = why or 'no_upstream' }
  end
  if why then
    return
  end
  for branch, upstream, track in result.out:gmatch 'refs/heads/([^%z\n]+)%z([^%z\n]*)%z([^%z\n]*)\n' do
    if track == 'gone' then
      out[branch] = { upstream = upstream, reason = 'gone' }
    elseif upstream ~= '' then
      out[branch] = {
        upstream = upstream,
        ahead = tonumber(track:match 'ahead (%d+)' or 0),
        behind = tonumber(track:match 'behind (%d+)' or 0),
      }
    end
  end
end

--- Distances of branches.
---@param roots envctl.Roots
---@param heads table<string, string> object id by branch
---@return table<string, envctl.Distance> by branch
function M.distances(roots, heads)
  local text = fs.read(roots.common_dir .. '/config', { max = CONFIG_BYTES })
  local refs = text and M.parse(text)
  local out, unknown = {}, {}
  for branch, oid in pairs(heads) do
    local upstream = refs and refs[branch]
    local other = upstream and git.resolve(roots.common_dir, upstream)
    if refs and not upstream then
      out[branch] = { reason = 'no_upstream' }
    elseif upstream and not other then
      out[branch] = { upstream = upstream, reason = 'gone' }
    elseif other == oid then
      out[branch] = { upstream = upstream, ahead = 0, behind = 0 }
    else
      unknown[#unknown + 1] = branch
    end
  end
  if #unknown > 0 then
    table.sort(unknown)
    ask(roots, unknown, out)
  end
  return out
end

return M
