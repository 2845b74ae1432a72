-- When will it run out? Ready to adapt: change the queries' labels, and the thresholds to what you
-- have time to act in. docs/forecasting.md tells how the numbers are to be read.

-- File systems, by what node_exporter measures: the share that is used, so that one threshold fits
-- all sizes.
forecast "filesystem_full" {
  query = [[1 - node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"}
                / node_filesystem_size_bytes{fstype!~"tmpfs|overlay|squashfs"}]],
  threshold = 0.9, unit = "percent", cap = 1,
  alert_when = "days_until_threshold < 3 or probability > 0.8 and days_10 < 2",
  hold_for = "1h", -- two forecasts running
  labels = { severity = "warning" },
  annotations = {
    summary = "{{ $labels.mountpoint }} of {{ $labels.instance }} reaches 90 % in "
      .. "{{ printf \"%.1f\" $value }} days",
  },
}

-- Memory of a service against its limit. Weekdays differ, hence the time zone of its users.
forecast "memory_limit" {
  query = [[max by (namespace, pod) (container_memory_working_set_bytes{container!=""})
            / on (namespace, pod)
              max by (namespace, pod) (kube_pod_container_resource_limits{resource="memory"})]],
  history = "14d", horizon = "3d", threshold = 0.95, unit = "percent",
  timezone = "Europe/Berlin",
  alert_when = "days_until_threshold < 1",
  labels = { severity = "warning" },
}

-- Requests at the peak of the week ahead against what a load test has shown to be the most.
forecast "peak_requests" {
  query = "sum by (service) (rate(http_requests_total[5m]))",
  history = "60d", horizon = "14d", threshold = 1200, unit = "req/s",
  alert_when = "predicted_max > threshold and probability > 0.5",
  labels = { severity = "info" },
}

-- What must not fall: here the free IP addresses of a subnet.
forecast "free_addresses" {
  query = "subnet_free_addresses",
  direction = "below", threshold = 16, floor = 0, seasonality = { "weekly" },
  alert_when = "days_until_threshold < 5",
  labels = { severity = "warning" },
}

incident "capacity_runs_out" {
  signals = { "filesystem_full", "memory_limit", "free_addresses" },
  min_signals = 1, group_by = { "instance", "namespace" },
  recommend = function(incident) return incident.anomalies[1].reason end,
}
