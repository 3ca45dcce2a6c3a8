--- Differences of two texts, line by line, for people.
local M = {}

local function lines_of(text)
  local out = {}
  for line in (text:gsub('\r\n', '\n'):gsub('\n$', '') .. '\n'):gmatch '([^\n]*)\n' do
    out[#out + 1] = line
  end
  return text == '' and {} or out
end

-- Longest common subsequence of the middle parts, as marks on both sides.
local function common(a, b, first, last_a, last_b)
  local n, m = last_a - first + 1, last_b - first + 1
  local length = {}
  for i = n + 1, 1, -1 do
    length[i] = {}
    for j = m + 1, 1, -1 do
      if i > n or j > m then
        length[i][j] = 0
      elseif a[first + i - 1] == b[first + j - 1] then
        length[i][j] = length[i + 1][j + 1] + 1
      else
        length[i][j] = math.max(length[i + 1][j], length[i][j + 1])
      end
    end
  end
  return length
end

--- The lines that differ, each with its mark ('-' or '+'), in order; '  …' stands between places that are apart.
---@param before string
---@param after string
---@return string[]
function M.lines(before, after)
  local a, b, out = lines_of(before), lines_of(after), {}
  local first, last_a, last_b = 1, #a, #b
  while first <= last_a and first <= last_b and a[first] == b[first] do
    first = first + 1
  end
  while last_a >= first and last_b >= first and a[last_a] == b[last_b] do
    last_a, last_b = last_a - 1, last_b - 1
  end
  local length = common(a, b, first, last_a, last_b)
  local i, j, gap = 1, 1, false
  local n, m = last_a - first + 1, last_b - first + 1
  local function put(mark, line)
    if gap and #out > 0 then
      out[#out + 1] = '  …'
    end
    gap = false
    out[#out + 1] = mark .. line
  end
  while i <= n or j <= m do
    if i <= n and j <= m and a[first + i - 1] == b[first + j - 1] then
      i, j, gap = i + 1, j + 1, true
    elseif i <= n and (j > m or length[i + 1][j] >= length[i][j + 1]) then
      put('-', a[first + i - 1])
      i = i + 1
    else
      put('+', b[first + j - 1])
      j = j + 1
    end
  end
  return out
end

return M
