--- What features say, in words: "its mean over 1h, 640 (usually 310 to 400)".
local types = require 'detectors.types'
local features = require 'features'
local units = require 'units'

local words = {}

local DAYS = { [0] = 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday' }

--- A length of time for people: "1h", "50m".
function words.duration(seconds) return units.duration_text(math.floor(seconds + 0.5)) end

-- What a feature is called: %s is the length of its window.
local NAMES = {
  difference = 'its step from the sample before', change = 'its step from the sample before',
  mean_1h = 'its mean over %s', mean_6h = 'its mean over %s',
  sd_1h = 'its spread over %s', sd_6h = 'its spread over %s',
  residual = 'what it is off the usual of this time of day',
  residual_1h = 'what it is off the usual of this time of day over %s',
  residual_6h = 'what it is off the usual of this time of day over %s',
}

local function usually(usual)
  if not usual then return '' end
  local low, high = types.text(usual[1]), types.text(usual[3])
  return low == high and (' (usually %s)'):format(low) or (' (usually %s to %s)'):format(low, high)
end

local function phrase(name, x, usual, step)
  if name == 'value' then return 'the value' .. usually(usual) end
  if name == 'hour' then return ('the hour, %02d:00'):format(x // 1) end
  if name == 'weekday' then return ('the day, %s'):format(DAYS[x // 1]) end
  local window = words.duration(features.window(step, name:find '_6h$' ~= nil))
  return ('%s, %s%s'):format(NAMES[name]:format(window), types.text(x), usually(usual))
end

local MOST = 3     -- features that a reason names
local SHARE = 0.15 -- of all that speaks for an anomaly: what adds less is not worth a word

--- The features that make a row odd, the strongest first.
local function strongest(row, contributions)
  local order, total = {}, 0
  for j, x in ipairs(contributions) do
    if x < 0 and row[j] == row[j] then order[#order + 1], total = j, total + x end
  end
  table.sort(order, function(a, b)
    if contributions[a] ~= contributions[b] then return contributions[a] < contributions[b] end
    return a < b
  end)
  local out = {}
  for k, j in ipairs(order) do
    if k > 1 and contributions[j] > SHARE * total then break end
    out[k] = j
  end
  return out
end

--- Whether a feature lies outside of what is usual of it; hours and weekdays never do.
local function stands_out(name, x, usual)
  return name ~= 'hour' and name ~= 'weekday' and usual and (x < usual[1] or x > usual[3])
end

--- Why a row is odd: the features that made it so, the strongest first. Where each of them is usual
--- it is their combination that is not.
---@param names string[]
---@param row number[]
---@param contributions number[]  to the score: negative ones make it odd
---@param usual (number[]|false)[]  5 %, 50 % and 95 % of each feature's history
---@param value number
---@param step number
function words.odd(names, row, contributions, usual, value, step)
  local order, outside = strongest(row, contributions), {}
  for _, j in ipairs(order) do
    if stands_out(names[j], row[j], usual[j]) then outside[#outside + 1] = j end
  end
  local parts, list = {}, #outside > 0 and outside or order
  for k = 1, math.min(#list, MOST) do
    parts[k] = phrase(names[list[k]], row[list[k]], usual[list[k]], step)
  end
  local text = types.text(value)
  if #parts == 0 then return text .. ' is odd' end
  local last = table.remove(parts)
  local all = #parts == 0 and last or table.concat(parts, '; ') .. ' and ' .. last
  return ('%s is odd: %s %s'):format(text, #outside > 0 and 'what stands out is'
    or 'each for itself is usual, but not together:', all)
end

return words
