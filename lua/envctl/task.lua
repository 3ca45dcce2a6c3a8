--- Tasks: straight-line code over host callbacks. A task is a coroutine; await() parks it until a host callback resumes it.
--- Structured: a scope ends when all its tasks have ended, the first error cancels the others, nothing outlives its scope.
--- Cancelling a task closes its coroutine, which runs its <close> variables, which release host handles.
---
--- Known limits (Lua 5.4.4): no await inside require, table.sort comparators, gsub callbacks, or metamethods of C functions.
local loop = require 'envctl.host.loop'
local err = require 'envctl.err'

local M = {}

---@class envctl.Task
---@field co thread
---@field done boolean
---@field ok boolean? set when done
---@field result any value or error
---@field waiting table? handle to close when cancelled while parked
---@field joiners fun()[]

local current -- the running task

local function settle(t, ok, result)
  t.done, t.ok, t.result = true, ok, result
  local joiners = t.joiners
  t.joiners = {}
  for _, fn in ipairs(joiners) do
    fn()
  end
end

local function step(t, ...)
  local previous = current
  current = t
  local ok, yielded = coroutine.resume(t.co, ...)
  current = previous
  if t.done then
    return -- cancelled itself on the way
  end
  if coroutine.status(t.co) == 'dead' then
    if ok then
      settle(t, true, yielded)
    else
      local e = yielded
      if not err.is(e) then
        e = err.wrap(e, debug.traceback(t.co, tostring(e)))
      end
      coroutine.close(t.co)
      settle(t, false, e)
    end
  end
end

--- Parks the running task. start(resume) begins one operation and may return a handle with close(), which is closed when the
--- task is cancelled meanwhile. resume(...) must be called once, later or at once; its arguments are returned.
---@param start fun(resume: fun(...)): any
function M.await(start)
  local t = current
  if not t then
    error('await outside of a task', 2)
  end
  local fired, values, parked = false, nil, false
  local handle = start(function(...)
    if fired then
      return -- a second completion is dropped: the first one decided
    end
    fired = true
    t.waiting = nil
    if parked then
      if not t.done then
        step(t, ...)
      end
    else
      values = table.pack(...)
    end
  end)
  if fired then
    return table.unpack(values, 1, values.n)
  end
  parked = true
  t.waiting = handle
  return coroutine.yield()
end

---@param ms integer
function M.sleep(ms)
  M.await(function(resume)
    return loop.timer(ms, resume)
  end)
end

--- Starts a task. Prefer scope(): a bare task's failure is only seen by join().
---@param fn fun(...): any
---@return envctl.Task
function M.spawn(fn, ...)
  local t = { co = coroutine.create(fn), done = false, joiners = {} }
  step(t, ...)
  return t
end

--- Ends a task now: its <close> variables run, what it waits for is closed. Joiners see the error code 'cancelled'.
---@param t envctl.Task
---@param reason any? error for the joiners
function M.cancel(t, reason)
  if t.done then
    return
  end
  if t == current then
    error('a task cannot cancel itself; return or raise instead', 2)
  end
  local waiting = t.waiting
  t.waiting = nil
  if waiting and waiting.close then
    waiting:close()
  end
  -- <close> handlers of the cancelled task must not await; they only release.
  local previous = current
  current = nil
  coroutine.close(t.co)
  current = previous
  settle(t, false, reason or err.new('cancelled', 'cancelled'))
end

--- Waits for a task. Raises its error.
---@param t envctl.Task
function M.join(t)
  if not t.done then
    M.await(function(resume)
      t.joiners[#t.joiners + 1] = resume
    end)
  end
  if not t.ok then
    error(t.result, 0)
  end
  return t.result
end

--- Waits for a task without raising.
---@return boolean ok, any result
function M.try_join(t)
  if not t.done then
    M.await(function(resume)
      t.joiners[#t.joiners + 1] = resume
    end)
  end
  return t.ok, t.result
end

---@class envctl.Scope
local Scope = {}
Scope.__index = Scope

--- Starts a task of this scope.
function Scope:spawn(fn, ...)
  local t = { co = coroutine.create(fn), done = false, joiners = {} }
  self.tasks[#self.tasks + 1] = t
  t.joiners[1] = function()
    self.running = self.running - 1
    if not t.ok and not self.failure and not self.closing then
      self.failure = t.result
    end
    if self.wake and (self.running == 0 or self.failure) then
      local wake = self.wake
      self.wake = nil
      wake()
    end
  end
  self.running = self.running + 1
  step(t, ...)
  return t
end

local function close_scope(s, reason)
  s.closing = true
  for _, t in ipairs(s.tasks) do
    if not t.done and t ~= current then
      M.cancel(t, reason)
    end
  end
end

--- Runs fn(scope) and waits for every task that it spawned. The first error (of fn or of a task) cancels the rest and is raised.
---@param fn fun(scope: envctl.Scope): any
---@return any result of fn
function M.scope(fn)
  local s = setmetatable({ tasks = {}, running = 0 }, Scope)
  -- luacheck: push ignore 211
  local guard <close> = setmetatable({}, {
    __close = function()
      close_scope(s)
    end,
  })
  -- luacheck: pop
  local result = fn(s)
  while s.running > 0 and not s.failure do
    M.await(function(resume)
      s.wake = resume
    end)
  end
  if s.failure then
    error(s.failure, 0)
  end
  return result
end

--- Runs fn with a deadline. On expiry fn's task is cancelled and nil, 'timeout' is returned.
---@param ms integer
---@param fn fun(): any
function M.timeout(ms, fn)
  local t = M.spawn(fn)
  if not t.done then
    local guard <close> = setmetatable({}, { -- luacheck: ignore 211
      __close = function()
        if not t.done then
          M.cancel(t)
        end
      end,
    })
    local expired = M.await(function(resume)
      local timer = loop.timer(ms, function()
        resume(true)
      end)
      t.joiners[#t.joiners + 1] = function()
        timer:close()
        resume(false)
      end
      return timer
    end)
    if expired then
      return nil, 'timeout'
    end
  end
  if not t.ok then
    error(t.result, 0)
  end
  return t.result
end

--- pcall for tasks: runs fn in the current task and returns ok, result. Errors come back structured.
function M.try(fn, ...)
  local r = table.pack(xpcall(fn, function(e)
    if err.is(e) then
      return e
    end
    return err.wrap(e, debug.traceback(tostring(e), 2))
  end, ...))
  return table.unpack(r, 1, r.n)
end

--- A budget of so many at a time. The function that is returned awaits a free slot, which is held by a <close> variable:
---   local slot <close> = take()
---@param n integer how many slots there are, at least 1
---@return fun(): table take
function M.slots(n)
  local free, queue = n, {}
  local function give_back()
    local waiter = table.remove(queue, 1)
    if waiter then
      waiter.grant()
    else
      free = free + 1
    end
  end
  -- The one who waits is woken by the loop, not by the one who gives back: that may happen while a whole scope is being cancelled.
  local function wait(resume)
    local waiter, timer = {}, nil
    function waiter.grant()
      timer = loop.timer(0, resume)
    end
    function waiter:close()
      if timer then
        timer:close()
        give_back()
        return
      end
      for i, other in ipairs(queue) do
        if other == self then
          table.remove(queue, i)
          return
        end
      end
    end
    queue[#queue + 1] = waiter
    return waiter
  end
  return function()
    if free > 0 then
      free = free - 1
    else
      M.await(wait)
    end
    return setmetatable({}, { __close = give_back })
  end
end

--- A one-slot mailbox: put() never blocks, get() waits for the next value.
function M.channel()
  local items, waiter = {}, nil
  local c = {}
  function c.put(value)
    if waiter then
      local w = waiter
      waiter = nil
      w(value)
    else
      items[#items + 1] = { value }
    end
  end
  function c.get()
    if #items > 0 then
      return table.remove(items, 1)[1]
    end
    return M.await(function(resume)
      waiter = resume
      return { close = function()
        waiter = nil
      end }
    end)
  end
  return c
end

---@return envctl.Task?
function M.current()
  return current
end

--- Runs fn as the root task to its end and returns its result; raises its error.
function M.main(fn, ...)
  local t = M.spawn(fn, ...)
  if not t.done then
    t.joiners[1] = loop.stop
    loop.run()
  end
  if not t.done then
    M.cancel(t)
    err.raise('internal', 'the main task waits for something that never comes')
  end
  if not t.ok then
    error(t.result, 0)
  end
  return t.result
end

return M
