--- verify: looks, until a query says what it should or time is up. It changes nothing; the engine
--- waits for it in rows with a due time, so a reload or a crash does not make it forget.
local check = require 'check'

local SPEC = {
  query = check.required(check.string()),
  below = check.number(),
  above = check.number(),
  equals = check.number(),
  within = check.required(check.duration(nil, { min = 1 })),
  otherwise = check.one_of('page', { 'revert', 'page' }),
}

local function check_args(args)
  local n = (args.below and 1 or 0) + (args.above and 1 or 0) + (args.equals and 1 or 0)
  if n ~= 1 then return 'exactly one of "below", "above" and "equals" is needed' end
end

local function holds(args, value)
  if args.below then return value < args.below end
  if args.above then return value > args.above end
  return value == args.equals
end

--- Whether a value is nearer to the limit than another, or as near.
local function is_worse(args, value, than)
  if args.below then return value >= than end
  return value <= than
end

local function condition(args)
  if args.below then return ('below %g'):format(args.below) end
  if args.above then return ('above %g'):format(args.above) end
  return ('equal to %g'):format(args.equals)
end

--- What one answer says: "holds" where there is data, all of it is whole, and every series is as it
--- should be; else "not yet", with the words why. No data is never good news.
---@param args table
---@param vector prometheus.Vector?
---@param failure prometheus.Failure?
---@return boolean holds
---@return string words
local function judge(args, vector, failure)
  if not vector then return false, 'the query failed: ' .. failure.message end
  if vector.partial then return false, 'the answer is partial' end
  if vector.type == 'matrix' then return false, 'the query gives a range of values, not one' end
  if #vector == 0 then return false, 'no data' end
  local worst = vector[1].value
  for _, sample in ipairs(vector) do
    if sample.value ~= sample.value then return false, 'the value is NaN' end
    if not holds(args, sample.value) then
      return false, ('%g is not %s'):format(sample.value, condition(args))
    end
    if is_worse(args, sample.value, worst) then worst = sample.value end
  end
  return true, ('%g is %s'):format(worst, condition(args))
end

--- Seconds between two looks.
local function pause(args) return math.max(1, math.min(15, args.within / 10)) end

return { spec = SPEC, changes = false, check = check_args, judge = judge, pause = pause }
