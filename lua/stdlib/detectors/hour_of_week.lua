--- Hour of week: a value against the same hour of the same weekday in its own history, robustly:
--- the median of that hour and of its neighbours, in median absolute deviations. What is usual on
--- Monday at nine is odd on Sunday at four.
local check = require 'check'
local calendar = require 'perigee.calendar'
local ecdf = require 'perigee.ecdf'
local shared = require 'detectors.options'
local types = require 'detectors.types'

---@class hour_of_week.Options
---@field history? string       how far back to learn from; "14d"
---@field step? string          between the samples learnt from; "5m"
---@field retrain? string       how old the baseline may become; "1h"
---@field threshold? number     scores beyond it are anomalies; 3.5
---@field direction? string     "both", "above" or "below"; "both"
---@field timezone? string      whose hours and weekdays: "Europe/Berlin"; "UTC"
---@field min_samples? integer  of an hour, with its neighbours, or it has no baseline; 6
local SPEC = shared.with_history({ history = '14d', step = '5m', retrain = '1h', min_samples = 6 },
  {
  threshold = check.number(3.5, { above = 0 }),
  direction = shared.direction 'both',
  timezone = check.string 'UTC',
})

local HOURS = 168

---@param o hour_of_week.Options  with defaults
---@return Detector
local function build(o)
  local zone, message = calendar.zone(o.timezone)
  if not zone then types.refuse('timezone: ' .. message) end

  local function by_hour(values, times)
    local hours = {}
    for h = 0, HOURS - 1 do hours[h] = {} end
    for i, value in ipairs(values) do
      if value - value == 0 then -- neither NaN nor infinite: there is a sample
        local hour = hours[calendar.hour_of_week(times[i], zone)]
        hour[#hour + 1] = value
      end
    end
    return hours
  end

  --- The hour's own values and, for its edges, those of the hours beside it.
  local function around(hours, h)
    local all = {}
    for _, hour in ipairs { hours[(h - 1) % HOURS], hours[h], hours[(h + 1) % HOURS] } do
      table.move(hour, 1, #hour, #all + 1, all)
    end
    return all
  end

  --- The scale of an hour is not believed below a share of the whole series' own: a few samples
  --- that happen to agree would make everything else odd.
  local function fit(values, times)
    local hours, median, scale = by_hour(values, times), {}, {}
    local whole <close> = ecdf.fit(values)
    if not whole then return nil, 'no baseline: every sample is missing' end
    local found = false
    local least = math.max(0.1 * 1.4826 * whole:mad(), types.spread_floor(whole:quantile(0.5)))
    for h = 0, HOURS - 1 do
      local near = around(hours, h)
      local d <close> = #near >= o.min_samples and #hours[h] > 0 and ecdf.fit(near) or nil
      median[h + 1], scale[h + 1] = false, false
      if d then
        found = true
        local own <close> = ecdf.fit(hours[h])
        median[h + 1], scale[h + 1] = own:quantile(0.5), math.max(1.4826 * d:mad(), least)
      end
    end
    if not found then
      return nil, ('no baseline: no hour of the week has %d samples'):format(o.min_samples)
    end
    return { median = median, scale = scale }
  end

  ---@return Verdict
  local function judge(model, value, time)
    local h = calendar.hour_of_week(time, zone)
    local median, scale = model.median[h + 1], model.scale[h + 1]
    if not median then return types.no_baseline 'no history for this hour of the week' end
    local deviation = (value - median) / scale
    return types.by_score(types.towards(deviation, o.direction), o.threshold,
      ('%s is %.1f deviations off the %s usual at this hour of the week'):format(types.text(value),
        math.abs(deviation), types.text(median)))
  end

  return { name = 'hour_of_week', options = o, history = shared.history(o), fit = fit,
    judge = judge }
end

return types.detector('hour_of_week', SPEC, build)
