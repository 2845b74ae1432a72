--- rules/capacity.lua, as it is shipped.
local config = require 'config'
local evaluate = require 'engine.evaluate'
local fake = require 'fakes.seasonal'
local file = require 'perigee.file'
local load_rules = require 'rules.load'
local scheduler = require 'engine.scheduler'
local support = require 'lua.engine.support'

local PATH = 'rules/capacity.lua'

describe('rules/capacity.lua', function()
  it('loads without an error or a warning', function()
    local set, problems, warnings = load_rules.load({ PATH }, { every = 30, limits = {} })
    assert.same({ 0, 0 }, { #problems, #warnings },
      problems[1] and config.problem_text(problems[1]))
    local names = {}
    for name in pairs(set.forecasts) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ 'filesystem_full', 'free_addresses', 'memory_limit', 'peak_requests' }, names)
  end)

  it('fires for a disk that fills, after two forecasts running', function()
    support.still()
    fake.install()
    local engine = support.engine {
      rules = { ['capacity.lua'] = assert(file.read(PATH, 1 << 16)) } }
    local job
    for _, j in ipairs(scheduler.jobs(engine.rules)) do
      if j.name == 'filesystem_full' then job = j end
    end
    engine.source.ranges[job.query] = function(start, stop, step)
      local s = { labels = { instance = 'db', mountpoint = '/data' }, ds = {}, y = {} }
      for t = start, stop, step do
        s.ds[#s.ds + 1], s.y[#s.y + 1] = t, 0.85 + 0.02 * (t - stop) / 86400
      end
      return { s }
    end
    local states = {}
    for i = 1, 2 do
      local _, series = next(evaluate.run(engine, job, support.START + i * 3600).series)
      states[i] = series.state
      if i == 2 then
        assert.equal('/data of db reaches 90 % in 2.5 days', series.annotations.summary)
      end
    end
    assert.same({ 'pending', 'firing' }, states)
    fake.remove()
    support.tidy()
  end)
end)
