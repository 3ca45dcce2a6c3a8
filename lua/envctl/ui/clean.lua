--- Text from outside (logs, names, branches) on its way to a terminal or a message: control bytes, escape sequences and broken
--- UTF-8 are taken out. Tabs stay. Pure.
local M = {}

local function valid_utf8(text)
  local out, pos, n = {}, 1, 0
  while true do
    local ok, bad = utf8.len(text, pos)
    n = n + 1
    if ok then
      out[n] = text:sub(pos)
      return table.concat(out)
    end
    out[n] = text:sub(pos, bad - 1) .. '\u{FFFD}'
    pos = bad + 1
    while pos <= #text and text:byte(pos) >= 0x80 and text:byte(pos) < 0xC0 do
      pos = pos + 1
    end
  end
end

-- Takes out OSC, DCS, SOS, PM and APC with what they carry, up to BEL or ST. A pattern would look for the end again from each of
-- many beginnings, which makes a hostile line of 64 KB take seconds.
local function without_strings(text)
  local out, from, bell, st = {}, 1, nil, nil
  while true do
    local start = text:find('\27[%]PX^_]', from)
    if start and bell ~= false and (bell or 0) < start + 2 then
      bell = text:find('\7', start + 2, true) or false
    end
    if start and st ~= false and (st or 0) < start + 2 then
      st = text:find('\27\\', start + 2, true) or false
    end
    if not start or not bell and not st then
      out[#out + 1] = text:sub(from)
      return table.concat(out)
    end
    out[#out + 1] = text:sub(from, start - 1)
    from = bell and (not st or bell < st) and bell + 1 or st + 2
  end
end

--- One line, without its newline.
---@param text string
---@return string
function M.text(text)
  if not text:find('[^\32-\126\t]') then
    return text
  end
  text = without_strings((text:gsub('\27%[[%d;:<=>?]*[ -/]*[@-~]', ''))) -- CSI first
    :gsub('\27.?', '')
    :gsub('[%z\1-\8\11-\31\127]', '')
  text = valid_utf8(text)
  -- C1 controls and the marks that reorder text
  text = text:gsub('\xC2[\x80-\x9F]', ''):gsub('\xE2\x80[\xAA-\xAE]', '')
  return (text:gsub('\xE2\x81[\xA6-\xA9]', ''))
end

return M
