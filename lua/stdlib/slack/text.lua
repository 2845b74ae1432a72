--- Foreign text for Slack: escaped, cut to what fits as Slack counts, and nothing in it that
--- mentions anybody or moves other text about.
local slack_text = {}

local ESCAPED = { [0x26] = '&amp;', [0x3C] = '&lt;', [0x3E] = '&gt;' }

-- What moves text about, so that it reads as something else than it says.
local function is_deceptive(c)
  return c >= 0x202A and c <= 0x202E or c >= 0x2066 and c <= 0x2069 or c == 0x200E or c == 0x200F
    or c == 0xFEFF or c == 0x2028 or c == 0x2029
end

--- Bytes that are no UTF-8 become U+FFFD.
local function valid(text)
  if utf8.len(text) then return text end
  local out, i = {}, 1
  while i <= #text do
    local n, bad = utf8.len(text, i)
    out[#out + 1] = n and text:sub(i) or text:sub(i, bad - 1) .. '\u{FFFD}'
    i = n and #text + 1 or bad + 1
  end
  return table.concat(out)
end

local function piece_of(c, lines)
  if ESCAPED[c] then return ESCAPED[c] end
  if c == 0x0A and lines then return '\n' end
  if c < 0x20 or c >= 0x7F and c < 0xA0 or is_deceptive(c) then return ' ' end
  return utf8.char(c)
end

local function width(c) return c > 0xFFFF and 2 or 1 end

--- A text as Slack shows it as it is, of at most so many characters; what is longer ends with "…".
--- Line feeds stay only where `lines` says so.
---@param text any
---@param limit integer
---@param lines? boolean
---@return string
function slack_text.plain(text, limit, lines)
  text = tostring(text)
  text = valid(text:sub(1, limit * 4 + 4)) -- no more is shown, whatever is in it
  local out, sizes, used = {}, {}, 0
  for _, c in utf8.codes(text) do
    local piece = piece_of(c, lines)
    local size = ESCAPED[c] and #piece or width(c)
    if used + size > limit then
      while used + 1 > limit and #out > 0 do
        used = used - sizes[#out]
        out[#out] = nil
      end
      out[#out + 1] = '…'
      break
    end
    out[#out + 1], sizes[#out + 1], used = piece, size, used + size
  end
  return table.concat(out)
end

--- Characters as JavaScript counts them.
function slack_text.length(text) return utf8.len(text) + select(2, text:gsub('[\xF0-\xF4]', '')) end

return slack_text
