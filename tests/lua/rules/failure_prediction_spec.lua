--- rules/failure_prediction.lua, as it is shipped.
local config = require 'config'
local file = require 'perigee.file'
local load_rules = require 'rules.load'
local matrix = require 'matrix'
local model_file = require 'prediction.model'
local prediction = require 'prediction'
local service = require 'lua.prediction.support'
local train = require 'prediction.train'

local PATH = 'rules/failure_prediction.lua'

local function words(problems)
  local out = {}
  for i, p in ipairs(problems) do out[i] = config.problem_text(p) end
  return table.concat(out, '\n')
end

describe('rules/failure_prediction.lua', function()
  it('says how to train its model while it has none', function()
    local set, problems = load_rules.load({ PATH }, { every = 30, limits = {}, untrained = true })
    assert.equal('', words(problems))
    local names = {}
    for name in pairs(set.predictions.service_failure.features) do names[#names + 1] = name end
    local wanted = { table.unpack(prediction.FEATURES) }
    table.sort(names)
    table.sort(wanted)
    assert.same(wanted, names)
    local _, untrained = load_rules.load({ PATH }, { every = 30, limits = {} })
    assert.matches('"perigee train %-%-prediction service_failure" writes it', words(untrained))
  end)

  it('loads with a model of its features', function()
    local folder = assert(file.temporary_folder 'perigee-spec')
    local data, columns = service.service(300), {}
    for j = 1, 8 do columns[j] = data.X:column((j - 1) % 4 + 1) end
    local trained = assert(train.run({ X = matrix.from_columns(columns, prediction.FEATURES),
      y = data.y }, { trees = 3, max_depth = 2 }))
    assert(file.make_folder(folder .. '/models'))
    assert(file.write(folder .. '/failure_prediction.lua', assert(file.read(PATH))))
    assert(model_file.save(folder .. '/models/service_failure.json', trained))
    local _, problems, warnings = load_rules.load({ folder .. '/failure_prediction.lua' },
      { every = 30, limits = {} })
    os.execute(("rm -rf '%s'"):format(folder))
    assert.equal('', words(problems))
    assert.equal('', words(warnings))
  end)
end)
