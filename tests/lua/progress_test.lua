local lu = require 'luaunit'
local progress = require 'envctl.ui.progress'

local M = {}

-- Items of a text like "a:ready,queued b:failed": projects with the phases of their services.
local function items(text)
  local out = {}
  for project, phases in text:gmatch '(%S+):(%S+)' do
    local n = 0
    for phase in phases:gmatch '[^,]+' do
      n = n + 1
      local service = 's' .. n
      local message = phase == 'failed' and 'broken' or nil
      out[#out + 1] = {
        name = project .. ' ' .. service, since = 1,
        event = { project = project, service = service, phase = phase, message = message },
      }
    end
  end
  return out
end

local function shown(text, height)
  local out = {}
  for i, row in ipairs(progress.fit(items(text), height)) do
    out[i] = row.phase .. '| ' .. row.name .. ': ' .. row.text
  end
  lu.assertTrue(#out <= height)
  return out
end

function M.test_a_row_per_service_when_there_is_room()
  lu.assertEquals(shown('a:queued,starting', 2), { 'queued| a s1: queued', 'starting| a s2: starting' })
end

function M.test_a_row_per_project_when_there_is_less()
  lu.assertEquals(shown('a:ready,ready b:queued,starting c:failed,stopped d:queued', 4), {
    'ready| a: 2 ready',
    'starting| b: 1 starting, 1 queued: s2 starting',
    'failed| c: 1 failed, 1 stopped: s1 failed: broken',
    'queued| d: 1 queued',
  })
end

function M.test_what_fails_or_works_is_seen_and_the_rest_is_counted()
  local text = 'a:ready,ready b:ready,ready c:starting,queued d:failed,ready e:queued,queued f:queued,queued'
  lu.assertEquals(shown(text, 4), {
    'starting| c: 1 starting, 1 queued: s1 starting',
    'failed| d: 1 failed, 1 ready: s1 failed: broken',
    'queued| e: 2 queued',
    'queued| … 3 more: 1 queued, 2 ready',
  })
  lu.assertEquals(shown(text, 2), { 'failed| d: 1 failed, 1 ready: s1 failed: broken',
    'starting| … 5 more: 1 starting, 2 queued, 2 ready' })
  lu.assertEquals(#shown(text, 1), 1)
end

return M
