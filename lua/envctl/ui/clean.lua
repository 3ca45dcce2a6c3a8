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

--- One line, without its newline.
---@param text string
---@return string
function M.text(text)
  if not text:find('[^\32-\126\t]') then
    return text
  end
  text = text
    :gsub('\27%[[%d;:<=>?]*[ -/]*[@-~]', '') -- CSI
    :gsub('\27[%]PX^_].-\7', '') -- OSC, DCS, SOS, PM, APC ended by BEL
    :gsub('\27[%]PX^_].-\27\\', '') -- … or by ST
    :gsub('\27.?', '')
    :gsub('[%z\1-\8\11-\31\127]', '')
  text = valid_utf8(text)
  -- C1 controls and the marks that reorder text
  text = text:gsub('\xC2[\x80-\x9F]', ''):gsub('\xE2\x80[\xAA-\xAE]', '')
  return (text:gsub('\xE2\x81[\xA6-\xA9]', ''))
end

return M
