--- "Did you mean …": the known word that is nearest to a wrong one.
local M = {}

--- Edit distance (insert, delete, replace, swap of neighbours), given up on above `limit`.
---@param a string
---@param b string
---@param limit integer
---@return integer distance limit + 1 when it is more than limit
function M.distance(a, b, limit)
  local n, m = #a, #b
  if math.abs(n - m) > limit then
    return limit + 1
  end
  local before, last = {}, {}
  for j = 0, m do
    last[j] = j
  end
  -- Only the band around the diagonal can stay within the limit.
  local far = limit + 1
  for i = 1, n do
    local row, best = { [0] = i }, i
    local ca = a:byte(i)
    for j = math.max(1, i - limit), math.min(m, i + limit) do
      local cb = b:byte(j)
      local d = math.min((last[j] or far) + 1, (row[j - 1] or far) + 1, (last[j - 1] or far) + (ca == cb and 0 or 1))
      if i > 1 and j > 1 and ca == b:byte(j - 1) and a:byte(i - 1) == cb then
        d = math.min(d, (before[j - 2] or far) + 1)
      end
      row[j] = d
      best = math.min(best, d)
    end
    if best > limit then
      return limit + 1
    end
    before, last = last, row
  end
  return math.min(last[m] or far, far)
end

local function fold(word)
  return (word:lower():gsub('_', '-'))
end

--- The nearest of the candidates, or nil when none is near. Short words must be nearer than long ones.
---@param word string
---@param candidates string[]
---@return string?
function M.nearest(word, candidates)
  if #word > 80 then
    return nil
  end
  local wanted = fold(word)
  local limit = math.max(1, math.min(3, #wanted // 3))
  local best, best_distance
  for _, candidate in ipairs(candidates) do
    local d = M.distance(wanted, fold(candidate), limit)
    if d <= limit and (not best or d < best_distance or (d == best_distance and candidate < best)) then
      best, best_distance = candidate, d
    end
  end
  if not best then
    -- A beginning that fits one word only is meant as well.
    for _, candidate in ipairs(candidates) do
      if #wanted >= 3 and fold(candidate):sub(1, #wanted) == wanted then
        if best then
          return nil
        end
        best = candidate
      end
    end
  end
  return best
end

return M
