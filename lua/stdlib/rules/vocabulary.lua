--- The words of the rule language that build data. A new detector or action adds its name here, and
--- its file to detectors/ or actions/.
return {
  detectors = { 'threshold', 'z_score', 'robust_z_score', 'hour_of_week', 'ratio_to_baseline',
    'combine', 'isolation_forest', 'forecast_band' },
  actions = { 'alertmanager.silence', 'github.dispatch', 'http.request', 'kubernetes.cordon',
    'kubernetes.patch', 'kubernetes.restart', 'kubernetes.rollback', 'kubernetes.scale',
    'kubernetes.uncordon', 'notify', 'verify' },
  triggers = { 'metric', 'kubernetes_event', 'every' },
  named_triggers = { 'alert' }, -- alert "Name" { … }
  policies = { 'trust.policy' },
  declarations = { 'signal', 'incident', 'playbook', 'forecast', 'prediction',
    'risk' }, -- risk: of a repository's risk.lua alone
  -- What a rule file may `require` of the standard library, beside the files of its own folder.
  modules = { 'statistics', 'units', 'check' },
}
