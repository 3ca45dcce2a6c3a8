--- The document of `explain-startup` as text for people. Pure.
local json = require 'envctl.util.json'
local names = require 'envctl.state.names'

local M = {}

local function flag(value)
  return value and 'True' or 'False'
end

local function list(words)
  return #words > 0 and table.concat(words, ', ') or 'none'
end

local function known(value)
  if value == json.null then
    return nil
  end
  return value
end

-- A word of a command as one would type it.
local function word(text)
  if text:find('^[%w_@%%+=:,./{}$-]+$') then
    return text
  end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- A command line for reading.
---@param command string[]
---@return string
function M.command_line(command)
  local out = {}
  for i, w in ipairs(command) do
    out[i] = word(w)
  end
  return table.concat(out, ' ')
end

-- Actions by what they are about. What is planned no more is only in the list.
local function key_of(project, name, dependency)
  return (dependency and '@' or '') .. names.short(project, name)
end

local function actions_by_key(plan)
  local out = {}
  for _, a in ipairs(plan.actions or {}) do
    out[key_of(a.project, a.service, a.dependency)] = a
  end
  return out
end

-- Projects of a plan, after the holder of what they share.
local function holders_of(plan)
  local out = { known(plan.shared) }
  return table.move(plan.projects, 1, #plan.projects, #out + 1, out)
end

local function port_text(entry)
  return known(entry.port) and tostring(entry.port) or '-'
end

local function widths(plan, actions)
  local w = { name = 0, port = 0, action = 0 }
  local function fit(name, entry, action)
    w.name, w.port = math.max(w.name, #name), math.max(w.port, #port_text(entry))
    w.action = math.max(w.action, action and #action.action or #'start')
  end
  for _, project in ipairs(holders_of(plan)) do
    for _, d in ipairs(project.dependencies or {}) do
      fit(d.id, d, actions[key_of(project.name, d.id, true)])
    end
    for _, s in ipairs(project.services or {}) do
      fit(s.name, s, actions[key_of(project.name, s.name)])
    end
  end
  return w
end

local function entry_lines(out, w, action, name, entry, what, notes)
  local pattern = '  %-' .. w.action .. 's  %-' .. w.name .. 's  %' .. w.port .. 's  %s'
  out[#out + 1] = pattern:format(action and action.action or 'start', name, port_text(entry), what)
  notes[#notes + 1] = action and known(action.reason) or nil
  local indent = string.rep(' ', 6 + w.action + w.name + w.port + 2)
  for _, note in ipairs(notes) do
    out[#out + 1] = indent .. note
  end
end

local function origin_text(service)
  local o = service.origin.command
  if not o then
    return nil
  end
  local place = known(o.file) and (known(o.line) and o.file .. ':' .. o.line or o.file) or nil
  if o.layer == 'bundled' then
    return known(o.evidence) or place
  end
  place = place or o.layer
  return known(o.evidence) and o.evidence .. ' (' .. place .. ')' or place
end

local function dependency_lines(out, project, d, action, w)
  local notes, runs = { d.why }, 'nothing'
  if d.scope == 'shared' and project.name ~= '@shared' then
    notes, runs = {}, 'its part of the shared server'
  elseif d.provider == 'docker' then
    runs = 'the image ' .. d.image
  elseif d.provider == 'external' then
    runs = 'is looked at, at ' .. tostring(d.host)
  elseif known(d.command) then
    runs = M.command_line(d.command)
  elseif known(d.program) then
    runs = d.program
  end
  local more = {}
  for _, name in ipairs(require('envctl.util.names').sorted(d.ports or {})) do
    if d.ports[name] ~= d.port then
      more[#more + 1] = name .. ' ' .. d.ports[name]
    end
  end
  notes[#notes + 1] = #more > 0 and 'also listens: ' .. table.concat(more, ', ') or nil
  notes[#notes + 1] = #(d.needs or {}) > 0 and 'after ' .. table.concat(d.needs, ', ') or nil
  entry_lines(out, w, action, d.id, d, runs, notes)
end

local function service_lines(out, project, service, action, w)
  local notes = {}
  notes[#notes + 1] = 'in ' .. (service.dir == '.' and project.root or project.root .. '/' .. service.dir)
  notes[#notes + 1] = origin_text(service)
  for _, step in ipairs(service.prepare) do
    local why = known(step.skip_reason) and ' is left out: ' .. step.skip_reason
      or known(step.reason) and ' runs first: ' .. step.reason or ''
    notes[#notes + 1] = step.name .. ' (' .. M.command_line(step.command) .. ')' .. why
  end
  entry_lines(out, w, action, service.name, service, M.command_line(service.command), notes)
end

local function plan_lines(out, plan)
  local actions = actions_by_key(plan)
  local w = widths(plan, actions)
  local function take(key)
    local action = actions[key]
    actions[key] = nil
    return action
  end
  out[#out + 1] = 'plan: ' .. plan.digest
  for _, project in ipairs(holders_of(plan)) do
    out[#out + 1] = project.name .. ' (' .. project.root .. ')'
    for _, d in ipairs(project.dependencies or {}) do
      if known(d.provider) then
        dependency_lines(out, project, d, take(key_of(project.name, d.id, true)), w)
      end
    end
    for _, service in ipairs(project.services or {}) do
      service_lines(out, project, service, take(key_of(project.name, service.name)), w)
    end
  end
  for _, a in ipairs(plan.actions or {}) do
    if actions[key_of(a.project, a.service, a.dependency)] then
      out[#out + 1] = M.action(a)
    end
  end
end

--- One action of a plan for reading.
---@param a {project: string, service: string, dependency: true?, action: string, reason: string?}
---@return string
function M.action(a)
  local name = (a.dependency and names.short or names.display)(a.project, a.service)
  return name .. ': ' .. a.action .. (known(a.reason) and ' (' .. a.reason .. ')' or '')
end

local function shown(value)
  value = known(value)
  if value == nil then
    return 'nothing'
  end
  return type(value) == 'table' and json.encode_line(value) or tostring(value)
end

--- One difference between what runs and what is wanted.
---@param c {project: string, service: string, field: string, before: any, after: any}
---@return string
function M.change(c)
  local where = names.short(c.project, c.service)
  return ('changed: %s %s: %s -> %s'):format(where, c.field, shown(c.before), shown(c.after))
end

local function problem_lines(out, label, problems, said)
  for _, p in ipairs(problems) do
    out[#out + 1] = label .. ': ' .. p.message .. (known(p.where) and ' (' .. p.where .. ')' or '')
    if known(p.hint) and p.hint ~= said then
      out[#out + 1] = '  ' .. p.hint
    end
  end
end

-- What happens to worktrees and plan files before anything starts.
local function tree_lines(out, selection)
  for _, name in ipairs(selection.remove or {}) do
    out[#out + 1] = 'removes: worktree ' .. name .. ', to the trash'
  end
  for _, t in ipairs(selection.create or {}) do
    out[#out + 1] = ('makes: worktree %s%s, on branch %s from %s'):format(
      t.project, known(t.plan) and ' for ' .. t.plan or '', t.branch, t.base)
  end
  for _, id in ipairs(selection.archive or {}) do
    out[#out + 1] = 'moves: ' .. id .. ' to done'
  end
end

--- Lines of the text form.
---@param document table
---@return string[]
function M.lines(document)
  local resume = document.auto_resume
  local out = {
    'command: ' .. document.command,
    'mode: ' .. document.mode,
    'startup_enabled: ' .. flag(document.startup_enabled),
    'headless: ' .. flag(document.headless),
    'selected_projects: ' .. list(document.selection.selected_projects),
    'auto_resume: ' .. flag(resume.will_resume) .. ' (' .. resume.reason .. ')',
    'dependencies: ' .. list(document.dependencies),
  }
  if document.reason then
    out[#out + 1] = 'reason: ' .. document.reason
  end
  out[#out + 1] = document.selection.message
  out[#out + 1] = 'decision: ' .. document.decision
  tree_lines(out, document.selection)
  if document.plan ~= json.null then
    plan_lines(out, document.plan)
  end
  for _, s in ipairs(document.skipped) do
    out[#out + 1] = string.format('skipped: %s/%s: %s', s.project, s.service, s.reason)
  end
  for _, c in ipairs(document.changes) do
    out[#out + 1] = M.change(c)
  end
  for _, n in ipairs(document.notices) do
    out[#out + 1] = 'notice: ' .. n.message .. (n.where and ' (' .. n.where .. ')' or '')
  end
  problem_lines(out, 'warning', document.warnings)
  problem_lines(out, 'blocked', document.blockers, document.selection.message)
  return out
end

return M
