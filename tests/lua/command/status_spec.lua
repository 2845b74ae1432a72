local clock = require 'perigee.clock'
local engine_support = require 'lua.engine.support'
local file = require 'perigee.file'
local groups = require 'engine.groups'
local guardrails = require 'engine.guardrails'
local scheduler = require 'engine.scheduler'
local support = require 'lua.command.support'

describe('perigee status', function()
  it('explains itself', function()
    support.explains_itself('status', { 'url', 'token-file', 'json' })
    support.needs_a_service('status')
  end)

  it('tells how the program is, and its signals', function()
    support.with_service(function(w)
      w.go_wrong()
      local result = w.run { 'status', as = 'vera' }
      assert.same({ 0, '' }, { result.status, result.err })
      assert.equal([[
version       0.0.0
started       2023-11-14 22:13:20Z
rules loaded  2023-11-14 22:13:20Z
last reload   ok
source        http://127.0.0.1:9
dry run       off
kill switch   off
rules         1 signals, 1 incidents, 1 playbooks in 1 files
now           1 active incidents, 1 plans waiting for a decision

SIGNAL   STATE   CONDITION  SERIES  ERROR
latency  firing  ok         1
]], result.out)
    end)
  end)

  it('tells of the kill switch, of a storm, and of rules that are switched off', function()
    support.with_service(function(w)
      assert(file.write(guardrails.kill_file(w.engine.config), 'adam\n'))
      w.engine.store:exec [[insert into rule_faults (rule, digest, running, switched_off_at, reason)
        values ('signal/latency', 'd', 3, 1700000000, 'rules.lua:1: no' || char(27))]]
      for i = 1, 11 do
        w.engine.store:exec([[insert into incidents (id, name, group_key, state, opened_at,
          updated_at, data) values (?, 'slow', ?, 'open', ?, ?, '{"anomalies":[],"labels":{}}')]],
          'inc-' .. i, i, clock.now(), clock.now())
      end
      local out = w.run({ 'status' }).out
      assert.matches('\nstorm         all automation is stopped: 11 incidents within 10m; '
        .. 'guardrails.storm allows 10\n', out, 1, true)
      assert.matches('\nkill switch   on: .+\n', out)
      assert.matches('\nswitched off  signal/latency: rules.lua:1: no%?\n', out)
    end)
  end)

  it('tells of rule groups: how many alerts there are, and what fails', function()
    support.with_service(function(w)
      w.engine.rules.groups = engine_support.rules { ['r.yaml'] =
        'groups: [ { name: g, rules: [ { alert: A, expr: a }, { alert: B, expr: b } ] } ]' }.groups
      w.engine.source.answers.a = { { {}, 1 } }
      w.engine.source.answers.b = { message = 'no\27[1m', kind = 'x' }
      for _, job in ipairs(scheduler.jobs(w.engine.rules)) do
        if job.evaluate then groups.evaluate(w.engine, job, clock.now()) end
      end
      local out = w.run({ 'status' }).out
      assert.matches(', 1 rule groups in 1 files\n', out)
      assert.matches('\nalerts        1 fire, 0 are pending\n', out)
      assert.matches('\nfailing       alert/B of group g: no%?%[1m %(x%)\n', out)
    end)
  end)

  it('is one document with --json', function()
    support.with_service(function(w)
      w.go_wrong()
      local s = support.document(w.run { 'status', '--json' })
      assert.same({ '0.0.0', 1, 1, 1, 1, 1, false, false }, { s.version, s.signals,
        s.incidents_declared, s.playbooks, s.incidents_active, s.approvals_pending, s.dry_run,
        s.kill_switch })
      assert.same({ 'latency', 'firing', 1 },
        { s.signals_list[1].name, s.signals_list[1].state, #s.signals_list[1].series })
    end)
  end)
end)
