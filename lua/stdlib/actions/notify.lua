--- notify: tells people something, in Slack, else through Alertmanager, else in the log. The
--- action's key goes with the message, so that after a crash it is looked for before it is sent
--- again.
local check = require 'check'
local clock = require 'perigee.clock'
local hash = require 'perigee.hash'
local log = require 'log'
local slack_text = require 'slack.text'

local MAX_TEXT = 3000

local SPEC = {
  text = check.required(check.string()),
  channel = check.string(),
}

local function check_args(args)
  if #args.text > MAX_TEXT then return ('the text is longer than %d bytes'):format(MAX_TEXT) end
end

--- The same words to the same people are one target: cooldowns keep them from being repeated.
local function target(args)
  return ('notify %s %s'):format(args.channel or 'people', hash.sha256(args.text):sub(1, 12))
end

local function allowed(args, config)
  if not args.channel then return nil end
  if not config.slack then return 'slack is not configured: there are no channels' end
  if args.channel == config.slack.channel then return nil end
  for _, channel in ipairs(config.slack.notify_channels) do
    if args.channel == channel then return nil end
  end
  return ('slack.notify_channels does not name %s'):format(args.channel)
end

local function in_slack(args, context)
  local channel = args.channel or context.config.slack.channel
  local answer, failure = context.slack:call('chat.postMessage', { channel = channel,
    text = slack_text.plain(args.text, MAX_TEXT, true),
    metadata = { event_type = 'perigee_message', event_payload = { key = context.key } },
    link_names = false, unfurl_links = false, unfurl_media = false })
  if answer then return { result = 'succeeded', message = 'told ' .. channel } end
  return { result = failure.uncertain and 'unknown' or 'failed', message = failure.message }
end

--- Alertmanager knows an alert by its labels: what is told twice is one.
local function to_alertmanager(args, context)
  local ok, why = context.alertmanager:post { {
    labels = { alertname = 'PerigeeNotice', key = context.key, severity = 'info' },
    annotations = { summary = args.text }, startsAt = clock.text(clock.now()) } }
  if ok then return { result = 'succeeded', message = 'told Alertmanager' } end
  return { result = 'failed', message = why }
end

local function run(args, context)
  if context.slack then return in_slack(args, context) end
  if context.alertmanager then return to_alertmanager(args, context) end
  log.warn('a notice', { key = context.key, text = args.text })
  return { result = 'succeeded', message = 'written to the log: nobody else is configured' }
end

local function is_it(message, key)
  local metadata = type(message) == 'table' and message.metadata
  local payload = type(metadata) == 'table' and metadata.event_payload
  return type(payload) == 'table' and payload.key == key
end

--- Slack finds messages by a channel's id alone, not by its name.
local function find_out(args, context)
  if not context.slack then
    return { result = 'not_done', message = 'what is told again is one notice' }
  end
  local channel = args.channel or context.config.slack.channel
  local answer, failure = context.slack:call('conversations.history', { channel = channel,
    limit = 200, include_all_metadata = true,
    oldest = ('%d.000000'):format(math.floor(context.started_at) - 60) })
  if not answer then return { result = 'unknown', message = failure.message } end
  for _, message in ipairs(type(answer.messages) == 'table' and answer.messages or {}) do
    if is_it(message, context.key) then
      return { result = 'succeeded', message = 'told ' .. channel }
    end
  end
  return { result = 'not_done', message = 'the message is not there' }
end

return { spec = SPEC, changes = true, check = check_args, target = target, allowed = allowed,
  run = run, find_out = find_out }
