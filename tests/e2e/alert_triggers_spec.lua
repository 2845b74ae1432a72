--- One alert of a real Prometheus, that comes to Perigee by the source's API and, with an external
--- label more, by a real Alertmanager's webhook: one trigger.
local async = require 'async'
local testing = require 'testing.world'
local world = require 'e2e.world'

describe('an alert of Prometheus', function()
  local w
  before_each(function() w = world.new() end)
  after_each(function() w:close() end)

  it('is a trigger once, though it comes by two ways', function()
    local am_port = testing.free_port()
    -- Fires once Prometheus has found its Alertmanager, which takes it some five seconds.
    local rules = w:write('alerts.yml', [[
groups: [ { name: g, interval: 1s, rules: [ { alert: Down, expr: vector(1) > 0, for: 8s,
  labels: { app: shop }, annotations: { summary: "it is {{ $value }}" } } ] } ]
]])
    local url = w:prometheus { targets = { '127.0.0.1:1' }, more = ([[
rule_files: [ "%s" ]
alerting:
  alert_relabel_configs: [ { target_label: cluster, replacement: eu } ]
  alertmanagers: [ { static_configs: [ { targets: [ "127.0.0.1:%d" ] } ] } ]
]]):format(rules, am_port) }
    local p = w:perigee { source = url, tokens = { otto = 'alert_sender', admin = 'admin' },
      config = 'evaluation_interval: 1s\n', rules = { ['r.lua'] = [[
playbook "mend" { when = alert "Down" { app = "shop" }, trust = "recommend",
  plan = function(e) return { http.request { method = "POST", url = "http://shop/",
    body = e.annotations.summary .. " " .. tostring(e.value) .. " " .. e.source } } end }
]] } }
    local config = w:write('alertmanager.yml', ([[
route: { receiver: perigee, group_wait: 0s, group_interval: 1s, repeat_interval: 1s }
receivers:
  - name: perigee
    webhook_configs:
      - url: "%s/api/v1/webhook/alertmanager"
        http_config: { authorization: { type: Bearer, credentials_file: %s } }
]]):format(p.url, p.files.otto))
    w:start('alertmanager', { 'prometheus-alertmanager', '--config.file=' .. config,
      '--storage.path=' .. w:path 'alertmanager', '--cluster.listen-address=',
      ('--web.listen-address=127.0.0.1:%d'):format(am_port) })
    w:wait_for('the plan', 20, function() return p:get '/api/v1/plans'[1] end)
    w:wait_for('the webhook', 20, function()
      local alert = p:get '/api/v1/webhook/alerts'[1]
      return alert and alert.labels.cluster == 'eu'
    end)
    w:wait_for('a repetition', 20, function()
      return p:metric 'perigee_webhook_alerts_total{outcome="repeated"}' >= 1
    end)
    async.sleep(1.5) -- another look by each way
    local list = p:get '/api/v1/plans'
    assert.equal(1, #list)
    assert.matches('^it is 1 ', list[1].actions[1].args.body)
  end)
end)
