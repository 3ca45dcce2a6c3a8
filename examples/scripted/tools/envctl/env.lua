-- The override point plan.env: every service learns which project it belongs to.
return function(base, ctx)
  local env = base(ctx)
  env.SHOP_PROJECT = ctx.project.name
  return env
end
