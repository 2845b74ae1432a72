--- The engine's own metrics. They belong to the process, so a reload does not reset them; names and
--- units follow Prometheus' conventions.
local metrics = require 'perigee.metrics'

local SECONDS = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 }

local function counter(name, help, labels)
  return metrics.family('counter', 'perigee_' .. name, help, labels)
end
local function gauge(name, help, labels)
  return metrics.family('gauge', 'perigee_' .. name, help, labels)
end
local function histogram(name, help, labels)
  return metrics.family('histogram', 'perigee_' .. name, help, labels, SECONDS)
end

return {
  evaluations = counter('rule_evaluations_total', 'Evaluations begun, by rule.', 'rule'),
  failures = counter('rule_evaluation_failures_total', 'Evaluations without a result, by rule.',
    'rule'),
  missed = counter('rule_evaluations_missed_total',
    'Evaluations that were due and did not take place.', 'rule'),
  seconds = histogram('rule_evaluation_duration_seconds',
    'Time from the start of an evaluation to its end.'),
  last = gauge('rule_last_evaluation_timestamp_seconds',
    'The time that was evaluated last, by rule.', 'rule'),
  late = histogram('rule_evaluation_delay_seconds', 'How long after its time an evaluation began.'),
  rule_faults = counter('rule_faults_total', 'Errors in rule files while they were evaluated.',
    'rule,kind'),
  rules_off = gauge('rules_switched_off', 'Rules that are switched off because of faults.'),
  memory = gauge('lua_memory_bytes', 'Memory that rule files hold.'),
  engine_memory = gauge('engine_memory_bytes', 'Memory that the engine\'s Lua holds.'),
  instructions = counter('lua_instructions_total', 'Instructions that rule files have taken.',
    'file'),
  queue = gauge('evaluation_queue_length', 'Evaluations under way or waiting for their turn.'),
  alerts = gauge('alerts', 'Series of signals, by state.', 'state'),
  incidents = gauge('incidents', 'Incidents, by state.', 'state'),
  incidents_opened = counter('incidents_opened_total', 'Incidents opened, by name.', 'incident'),
  plans = counter('plans_total', 'Plans by playbook and the state they came to.', 'playbook,state'),
  actions = counter('actions_total', 'Actions carried out, by outcome.', 'action,outcome'),
  blocked = counter('actions_blocked_total', 'Plans that a gate has stopped.', 'gate'),
  approvals = counter('approvals_total', 'Decisions about plans.', 'outcome'),
  approval_wait = histogram('approval_wait_seconds', 'Time from a plan to the decision about it.'),
  pages = counter('pages_total', 'Calls for a person, by whether anybody could be told.',
    'outcome'),
  notifications_sent = counter('notifications_sent_total',
    'Alerts of rule groups that Alertmanager has taken.'),
  notifications_failed = counter('notifications_errors_total',
    'Alerts of rule groups that Alertmanager has not taken.'),
  notifications_dropped = counter('notifications_dropped_total',
    'Alerts of rule groups that there was no room for in the queue.'),
  notifications_queue = gauge('notifications_queue_length', 'Alerts that wait to be sent.'),
  slack_messages = counter('slack_messages_total', 'Calls that tell Slack something, by outcome.',
    'kind,outcome'),
  slack_clicks = counter('slack_clicks_total',
    'Interactive payloads from Slack, by what came of them.', 'outcome'),
  kill_switch = gauge('kill_switch', '1 while nothing may be acted upon.'),
  dry_run = gauge('dry_run', '1 while actions are only told of.'),
  models = counter('model_fits_total', 'Baselines learned, by outcome.', 'outcome'),
  internal_errors = counter('internal_errors_total',
    'Errors of the program itself, or of its disk.', 'doing'),
  forecasts = counter('forecast_fits_total', 'Series forecast, by outcome.', 'outcome'),
  forecast_days = gauge('forecast_days_until_threshold',
    'Days until the forecast meets its threshold; +Inf for never.', 'forecast,series'),
  forecast_probability = gauge('forecast_breach_probability',
    'Probability that the threshold is met within the horizon.', 'forecast,series'),
  forecast_max = gauge('forecast_predicted_max',
    'The largest value that is expected within the horizon.', 'forecast,series'),
  forecast_updated = gauge('forecast_updated_timestamp_seconds',
    'The time that was forecast from, by forecast.', 'forecast'),
  prediction_probability = gauge('prediction_probability',
    'Probability of a failure, as predicted last.', 'prediction,series'),
  prediction_missing = gauge('prediction_missing_features',
    'Features that the last prediction had to do without.', 'prediction,series'),
  webhook_alerts = counter('webhook_alerts_total', 'Alerts that the webhook was told of.',
    'outcome'),
  slack_connections = gauge('slack_connections',
    'Connections of Socket Mode that Slack has greeted.'),
  slack_connects = counter('slack_connects_total', 'Attempts to connect to Slack, by outcome.',
    'outcome'),
  slack_disconnects = counter('slack_disconnects_total',
    'Connections of Socket Mode that were to end, by reason.', 'reason'),
  slack_envelopes = counter('slack_envelopes_total', 'Envelopes of Socket Mode, by outcome.',
    'type,outcome'),
  slack_acknowledge = histogram('slack_acknowledge_seconds',
    'Time from the arrival of an envelope to its acknowledgement.'),
  slack_failed = gauge('slack_refused',
    '1 while Slack refuses the app: its token, or Socket Mode at all.'),
  slack_foreign = gauge('slack_foreign_connections',
    'Connections of the same app that are not ours, and take clicks.'),
  audit_records = gauge('audit_records', 'Records in the audit trail.'),
  audit_head = gauge('audit_head_info', 'The head of the audit trail.', 'hash'),
  expose = metrics.expose,
}
