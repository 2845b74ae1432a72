-- How likely is a failure in the next hour? The queries are those of common exporters, by `app`;
-- adapt them, and train a model on failures of your own before this file can be loaded:
--
--   perigee train -c perigee.yaml --rules rules/failure_prediction.lua --prediction service_failure \
--     --alert ServiceDown --horizon 1h --history 90d --out rules/models/service_failure.json
--
-- The levels are probabilities; what is rare hardly ever passes 0.8. The report of the training says
-- which thresholds give how many alarms a week, and how many of them are right.

prediction "service_failure" {
  features = {
    cpu_usage = [[100 * avg by (app) (rate(process_cpu_seconds_total[5m]))]],
    memory_usage = [[100 * max by (app) (container_memory_working_set_bytes
                       / on (namespace, pod, container) group_left (app)
                       kube_pod_container_resource_limits{resource="memory"})]],
    disk_io = [[sum by (app) (rate(container_fs_reads_total[5m])
                              + rate(container_fs_writes_total[5m]))]],
    network_latency = [[1000 * histogram_quantile(0.5, sum by (le, app) (
                          rate(http_request_duration_seconds_bucket[5m])))]],
    error_rate = [[sum by (app) (rate(http_requests_total{code=~"5.."}[5m]))
                     / sum by (app) (rate(http_requests_total[5m]))]],
    request_rate = [[sum by (app) (rate(http_requests_total[5m]))]],
    gc_pause_time = [[1000 * max by (app) (rate(go_gc_duration_seconds_sum[5m])
                       / rate(go_gc_duration_seconds_count[5m]))]],
    thread_count = [[sum by (app) (go_threads)]],
  },
  model = "models/service_failure.json",
  every = "1m", hold_for = "5m",
  levels = { critical = 0.8, high = 0.5, medium = 0.3 },
  labels = { severity = "warning" },
  annotations = {
    summary = "{{ $labels.app }} fails within the hour with a probability of "
      .. "{{ humanizePercentage $value }}",
  },
}

incident "service_about_to_fail" {
  signals = { "service_failure" }, min_signals = 1, group_by = { "app" },
  recommend = function(incident) return incident.anomalies[1].reason end,
}
