--- Makes reading or writing an undeclared global an error, in policy and in tests.
return function(env)
  setmetatable(env, {
    __newindex = function(_, name)
      error('assignment to global ' .. tostring(name), 2)
    end,
    __index = function(_, name)
      error('undeclared global ' .. tostring(name), 2)
    end,
  })
end
