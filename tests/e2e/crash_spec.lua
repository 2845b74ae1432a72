local crash = require 'e2e.crash'

-- SOAK=1 (`make soak`): every point; else some of them.
local SOAK = os.getenv 'SOAK'

--- What is under way when it ends, and how a life without a crash comes to its end.
local STORIES = {
  { name = 'a plan that helps', trust = 'auto', cured = true, ends = 'executed',
    actions = { 'act/1', 'act/3' } },
  { name = 'a plan that is reverted', trust = 'auto', cured = false, ends = 'failed',
    actions = { 'undo/2', 'undo/1' } },
  { name = 'an approval', trust = 'human_approve', cured = true, ends = 'executed',
    actions = { 'act/2' }, drive = function(patient) patient:approve() end },
  { name = 'reloads', trust = 'auto', cured = true, ends = 'executed',
    actions = { 'act/2' }, drive = function(patient)
      if patient.reloads < 20 then patient:reload() end
    end },
}

local OVER = 'msg="plan (%a+)" plan'
local FINAL = { executed = true, failed = true, unknown = true }

--- Lets the story go on until its plan is over or the program has ended.
local function live(patient, story)
  patient:wait_for('the end of the story', 30, function()
    for state in patient:log():gmatch(OVER) do
      if FINAL[state] then return true end
    end
    if story.drive then story.drive(patient) end
    return not patient:running()
  end)
end

--- How often the target may have been reached by an action, by what the journal says of it.
local REACHED = { succeeded = { 1, 1 }, waiting = { 0, 0 }, unknown = { 0, 1 } }

--- Whether what an action's row says fits how often the target was reached.
local function check_action(patient, row, path)
  local reached = patient.reached[path] or 0
  local state = row and row.state or 'waiting'
  local least, most = table.unpack(REACHED[state])
  assert(least <= reached and reached <= most, ('%s: %s, done %d times'):format(path, state,
    reached))
  return state == 'unknown' and 1 or 0
end

local function check_plan(patient, story, p)
  local unknown = 0
  for i, path in ipairs { '1', '2', false, '3' } do
    local action = p.actions[i]
    if path then
      unknown = unknown + check_action(patient, action, 'act/' .. path)
        + check_action(patient, action.reverted, 'undo/' .. path)
    end
  end
  assert.equal(p.state == 'unknown' and 1 or 0, unknown)
  assert.equal(story.trust == 'human_approve' and 1 or 0, #p.decisions)
  if p.state == 'unknown' then
    assert.truthy(p.reason:find('may have happened and is not repeated', 1, true), p.reason)
  else
    assert.equal(story.ends, p.state)
  end
end

--- The only plan, once it has come to its end.
local function plan_of(patient)
  return patient:wait_for('the plan to end', 30, function()
    patient:approve()
    local plans = assert(patient:ask('GET', '/api/v1/plans'))
    assert(#plans <= 1, 'one incident, and more than one plan')
    return plans[1] and FINAL[plans[1].state] and plans[1]
  end)
end

local function kinds_of(patient)
  local count = {}
  for _, record in ipairs(patient:ask('GET', '/api/v1/audit').records) do
    count[record.kind] = (count[record.kind] or 0) + 1
  end
  return count
end

local function check_audit(patient, state)
  local status, out, err = patient.perigee:cli('admin', 'audit', '--verify')
  assert.equal(0, status, out .. err)
  local count = kinds_of(patient)
  assert.equal(1, count['plan_' .. state])
  assert.equal(state ~= 'executed' and 1 or nil, count.page)
end

--- The trouble ends and comes again: the next plan works, approved where trust was lost.
local function check_next(patient)
  patient.source.values.latency, patient.source.values.errors = 0, 0
  patient:wait_for('the incident to be resolved', 20, function()
    return patient:ask('GET', '/api/v1/incidents')[1].state == 'resolved'
  end)
  patient.reached, patient.source.values.cured = {}, 1
  patient.source.values.latency, patient.source.values.errors = 1, 1
  local p = patient:wait_for('the next plan to end', 20, function()
    patient:approve()
    local plans = patient:ask('GET', '/api/v1/plans')
    return #plans == 2 and FINAL[plans[1].state] and plans[1]
  end)
  assert.equal('executed', p.state, p.reason)
  assert.same({ ['act/1'] = 1, ['act/2'] = 1, ['act/3'] = 1 }, patient.reached)
end

--- From the crash on: what the next start makes of it, and whether all is well again.
local function recover(patient, story, again, how)
  patient:arm(again, how)
  patient:start()
  if again > 0 then
    patient:kill()
    patient:arm()
    assert(patient:start(), 'it does not start again')
  end
  local p = plan_of(patient)
  check_plan(patient, story, p)
  local incident = patient:ask('GET', '/api/v1/incidents/' .. p.incident_id)
  assert.equal(p.state == 'executed' and 'mitigating' or 'open', incident.state)
  check_audit(patient, p.state)
  if p.state ~= 'executed' then
    patient:wait_for('a person to be called', 10, function() return patient.paged[p.id] end)
  end
  check_next(patient)
end

--- One story that ends at a call, counted from the start or from an action's coming to the target,
--- and for some once more while it recovers. What went wrong.
---@param trap { on?: string, at: integer, how: integer, again: integer }
---@return string?
local function round(story, trap)
  local patient <close> = crash.new(story)
  local ok, message = xpcall(function()
    if trap.on then
      patient:arm()
      function patient.on_reach(action)
        if action == trap.on and patient.life == 1 then patient:arm(trap.at, trap.how) end
      end
    else
      patient:arm(trap.at, trap.how)
    end
    if patient:start() then live(patient, story) end
    patient:kill()
    recover(patient, story, trap.again, trap.how)
  end, debug.traceback)
  if ok then return nil end
  return ('%s, %s call %d from %s, again at %d: %s%s'):format(story.name, crash.WAYS[trap.how],
    trap.at, trap.on or 'the start', trap.again, tostring(message), patient.world:last_words())
end

--- How many points there are: the calls of a life without a crash.
local function points_of(story)
  local patient <close> = crash.new(story)
  patient:arm()
  assert.is_true(patient:start())
  live(patient, story)
  return patient:calls()
end

--- The rounds of a story: points spread evenly over all of it, and every one between what an action
--- does and what the journal says of it.
local function add_rounds(rounds, story)
  local points = points_of(story)
  local function add(on, at)
    local trap = { on = on, at = at, how = at % #crash.WAYS + 1,
      again = at % 3 == 0 and at % 50 or 0 }
    rounds[#rounds + 1] = function() return round(story, trap) end
  end
  for at = 1, points, SOAK and 1 or points // 3 do add(nil, at) end
  for _, on in ipairs(story.actions) do
    for at = 1, SOAK and 16 or 4 do add(on, at) end
  end
end

describe('kill -9', function()
  it('at any point leaves no action done twice, and nothing unsaid', function()
    local problems = crash.rounds(STORIES, add_rounds, 12)
    assert.equal(0, #problems, table.concat(problems, '\n\n'))
  end)
end)

describe('the kill switch', function()
  it('that was answered for is on after kill -9, wherever that comes', function()
    local answered = 0
    for at = 1, 12 do
      local patient <close> = crash.new(STORIES[1])
      patient.source.values.latency = 0
      patient:arm()
      assert.is_true(patient:start())
      patient:arm(at, at % #crash.WAYS + 1)
      local _, status = patient:ask('POST', '/api/v1/kill_switch', { on = true })
      patient:kill()
      patient:arm()
      assert.is_true(patient:start())
      local on = patient:ask('GET', '/api/v1/status').kill_switch
      if status then
        answered = answered + 1
        assert.same({ 200, 'the file KILL is in data_dir' }, { status, on })
      end
      assert.equal(0, (patient.perigee:cli('admin', 'audit', '--verify')))
    end
    assert.is_true(answered > 0 and answered < 12, tostring(answered))
  end)
end)

describe('a full disk', function()
  --- Waits until it has told of the disk while it did something.
  local function wait_for_words(patient, doing)
    patient:wait_for('words about the disk', 10, function()
      return patient:log():find(('doing="%s" error="[^\n]*disk is full'):format(doing))
    end)
  end

  it('stops every action and says so; with space again all goes on', function()
    local patient <close> = crash.new(STORIES[1])
    patient.source.values.latency = 0
    patient:arm()
    assert.is_true(patient:start())
    patient:wait_for('evaluations', 10, function()
      return patient.perigee:signal 'errors'.state == 'firing'
    end)
    patient:arm(1, crash.FULL)
    patient.source.values.latency = 1
    wait_for_words(patient, 'an evaluation')
    local errors = 'perigee_internal_errors_total{doing="an evaluation"}'
    assert.is_true(patient.perigee:metric(errors) > 0)
    assert.same({}, patient.reached)
    patient:arm()
    local p = plan_of(patient)
    check_plan(patient, STORIES[1], p)
    check_audit(patient, p.state)
    check_next(patient)
  end)

  it('that does not take the outcome of an action leaves it unknown, and never repeated', function()
    local patient <close> = crash.new(STORIES[1])
    function patient.on_reach(action)
      if action == 'act/2' then patient:arm(1, crash.FULL) end
    end
    patient:arm()
    assert.is_true(patient:start())
    wait_for_words(patient, 'a plan')
    wait_for_words(patient, 'an evaluation')
    assert.same({ ['act/1'] = 1, ['act/2'] = 1 }, patient.reached)
    patient.on_reach = nil
    patient:kill()
    recover(patient, STORIES[1], 0)
  end)
end)
