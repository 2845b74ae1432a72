-- Three signs of a sick checkout, each against what it has learned from two weeks of history.

local function rate(selector)
  return "sum by (namespace, app, instance) (rate(" .. selector .. "[10s]))"
end
local failed = rate 'http_requests_total{app="checkout", code=~"5.."}'
local all = rate 'http_requests_total{app="checkout"}'

signal "shop_latency_p99" {
  query = [[histogram_quantile(0.99, sum by (le, namespace, app, instance) (
              rate(http_request_duration_seconds_bucket{app="checkout"}[10s])))]],
  every = "2s",
  detector = hour_of_week { history = "14d", step = "5m", threshold = 6, direction = "above" },
  hold_for = "2s",
  labels = { severity = "critical" },
  annotations = { summary = "p99 is {{ humanizeDuration $value }} on {{ $labels.app }}" },
}

signal "shop_error_ratio" {
  query = failed .. " / " .. all,
  every = "2s",
  detector = combine { all = {
    robust_z_score { history = "14d", step = "5m", threshold = 6, direction = "above" },
    threshold { above = 0.05 },
  } },
  hold_for = "2s",
  labels = { severity = "critical" },
  annotations = { summary = "{{ humanizePercentage $value }} of {{ $labels.app }} fails" },
}

signal "shop_cpu" {
  query = rate 'process_cpu_seconds_total{app="checkout"}',
  every = "2s",
  detector = z_score { history = "14d", step = "5m", threshold = 4, direction = "above" },
  hold_for = "2s",
  labels = { severity = "warning" },
  annotations = { summary = "{{ printf \"%.2f\" $value }} cores used by {{ $labels.app }}" },
}

incident "shop_degraded" {
  signals = { "shop_latency_p99", "shop_error_ratio", "shop_cpu" },
  min_signals = 2, within = "1m",
  group_by = { "namespace", "app", "instance" },
  reopen_within = "0",
  recommend = function(incident)
    return ("Roll back %s to the version before"):format(incident.labels.app)
  end,
}

playbook "rollback_shop" {
  when = incident "shop_degraded",
  trust = "auto",
  limit = { 5, per = "1h" },
  plan = function(event)
    local shop = "http://" .. event.labels.instance
    return {
      http.request { method = "POST", url = shop .. "/rollback", expect_status = 200,
                     revert = { method = "POST", url = shop .. "/deploy",
                                body = { version = 2 } } },
      verify { query = failed .. " / " .. all, below = 0.05, within = "1m", otherwise = "page" },
    }
  end,
}
