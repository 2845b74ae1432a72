-- migration 1
-- Times are Unix seconds; JSON columns hold what the engine's Lua wrote.

-- One row a signal (or a playbook's metric trigger, a rule group, a rule of one): its last evaluation
-- and the state of every series.
create table signals (
  name text primary key,
  claimed_at real not null default 0,    -- the slot that an evaluation was begun for
  claimed_by text not null default '',   -- by which process
  evaluated_at real not null default 0,  -- the slot that an evaluation was finished for
  health text not null default 'unknown',
  error text not null default '',
  seconds real not null default 0,       -- how long the last evaluation took
  state text not null default '{}'
) without rowid;

create table models (
  signal text not null,
  digest text not null,                  -- of the query and the detector that it was learned for
  fitted_at real not null,
  models text not null,                  -- by the key of the series
  primary key (signal)
) without rowid;

create table incidents (
  id text primary key,
  name text not null,
  group_key text not null,
  state text not null,
  opened_at real not null,
  resolved_at real,
  updated_at real not null,
  data text not null
) without rowid;
create index incidents_by_group on incidents (name, group_key, opened_at);
create index incidents_by_state on incidents (state, updated_at);

create table plans (
  id text primary key,
  digest text not null,
  playbook text not null,
  incident_id text,
  target text not null,                  -- what the cooldown of the playbook counts by
  trust text not null,
  state text not null,
  reason text not null default '',
  actions text not null,                 -- never changes once it is here
  created_at real not null,
  expires_at real not null,
  due_at real                            -- when the engine looks at it next; null: never
) without rowid;
create index plans_by_state on plans (state, due_at);
create index plans_by_incident on plans (incident_id);
create index plans_by_playbook on plans (playbook, created_at);

create table decisions (
  plan_id text not null references plans (id),
  position integer not null,
  who text not null,
  via text not null,
  decision text not null,
  reason text not null default '',
  at real not null,
  primary key (plan_id, position)
) without rowid;

-- The journal: a row before an action starts, completed after it has ended.
create table actions (
  plan_id text not null references plans (id),
  position integer not null,
  direction text not null,               -- 'forward' or 'revert'
  name text not null,
  target text not null,
  state text not null,                   -- 'started', 'succeeded', 'failed', 'unknown'
  process text not null,                 -- which process began it
  started_at real not null,
  ended_at real,
  outcome text not null default '',
  primary key (plan_id, position, direction)
) without rowid;
create index actions_by_time on actions (started_at);
create index actions_by_target on actions (target, started_at);

create table audit (
  sequence integer primary key,
  record text not null,                  -- canonical JSON, without the hash
  hash text not null
);

-- Rules that are switched off, and how many faults running they have come to.
create table rule_faults (
  rule text primary key,
  digest text not null,                  -- of the file: another one starts anew
  running integer not null,
  switched_off_at real,
  reason text not null default ''
) without rowid;

create table settings (
  name text primary key,
  value text not null
) without rowid;

-- migration 2
-- Calls for a person that Alertmanager has not confirmed yet.
create table pages (
  id integer primary key,
  plan_id text not null,
  alert text not null,                   -- JSON, as Alertmanager is told
  created_at real not null,
  due_at real not null                   -- when it is told next
);

-- migration 3
-- The forecasts that were made last, one row a declaration.
create table forecasts (
  name text primary key,
  digest text not null,                  -- of the options that they were made by
  updated_at real not null,              -- the time that was forecast from
  results text not null,                 -- one record a series, the most urgent first
  courses text not null                  -- what each expects, time by time
) without rowid;

-- migration 4
-- Baselines lie one a series, so that each is read when it is needed and written when it is there. Those
-- of a signal that count are the ones with the digest and the time that `models` names.
drop table models;
create table models (
  signal text primary key,
  digest text not null,                  -- of the query and the detector that they were learned for
  fitted_at real not null
) without rowid;
create table series_models (
  signal text not null,
  digest text not null,
  fitted_at real not null,
  series text not null,                  -- its labels, as label_key() writes them
  model text not null,
  primary key (signal, digest, fitted_at, series)
) without rowid;

-- migration 5
-- What was seen of the targets: for who decides about a plan, and for who acts, before it did.
alter table plans add column previews text not null default '[]';
alter table actions add column before text not null default '{}';
alter table actions add column namespace text not null default '';

-- migration 6
-- Alerts that Alertmanager's webhook has brought: one row an occurrence.
create table alerts (
  id integer primary key,
  fingerprint text not null,             -- of the labels, as Alertmanager makes it
  starts_at text not null,               -- Unix seconds: with the fingerprint, what tells it from others
  name text not null,
  status text not null,                  -- 'firing', 'resolved', 'expired'
  labels text not null,
  annotations text not null,
  generator_url text not null,
  ends_at real,
  received_at real not null,             -- when it came first
  seen_at real not null,                 -- when it was told of last
  is_new integer not null,               -- 1: rules wait for it that have not been asked
  sender text not null,                  -- the person who sent it, where it was one
  unique (fingerprint, starts_at)
);
create index alerts_by_name on alerts (name) where status = 'firing';
create index alerts_new on alerts (id) where is_new = 1;

-- What playbooks have been asked about, each once; and what they are to be asked about.
create table occurrences (
  playbook text not null,
  occurrence text not null,
  at real not null,                      -- when it was there last
  event text,                            -- JSON, while the playbook has not been asked; else null
  primary key (playbook, occurrence)
) without rowid;
create index occurrences_new on occurrences (playbook) where event is not null;

-- migration 7
-- What plans that wait for a person need, and what they were told of it in Slack.
create table approvals (
  plan_id text primary key references plans (id),
  needed integer not null,               -- distinct people
  voters text not null default '',       -- the group that the playbook wants them to be of
  requester text not null default '',
  remind_every real not null default 0,  -- 0: never
  remind_at real,
  reminders integer not null default 0
) without rowid;
insert into approvals (plan_id, needed) select id, 1 from plans where state = 'pending';
alter table decisions add column person text not null default ''; -- one for all names of a person
update decisions set person = who;

create table slack_messages (
  id integer primary key,
  key text not null unique,              -- in the message's metadata, too
  kind text not null,                    -- 'plan', 'reply', 'ephemeral'
  plan_id text not null,
  recipient text not null default '',    -- of an ephemeral one: the user's id
  content text not null default '',      -- what it says; of a plan's: the evidence, once looked up
  state text not null,                   -- 'waiting', 'sending', 'posted', 'closed'
  claimed_by text not null default '',   -- the process that sends it
  channel text not null default '',      -- Slack's id of it, which with ts names the message
  ts text not null default '',
  team text not null default '',
  app text not null default '',
  shown text not null default '',        -- what the plan was like when the message was written last
  attempts integer not null default 0,
  created_at real not null,
  due_at real not null
);
create index slack_messages_by_state on slack_messages (state, due_at);
create index slack_messages_by_plan on slack_messages (plan_id);

-- Clicks, once each, before they are acknowledged.
create table slack_clicks (
  id text primary key,                   -- a digest of the envelope's id or of the signature
  click text not null,                   -- JSON of what is needed of it
  state text not null,                   -- 'waiting', 'done'
  claimed_by text not null default '',   -- the process that decides about it
  received_at real not null,
  due_at real not null
);
create index slack_clicks_by_state on slack_clicks (state, due_at);
create index slack_clicks_by_time on slack_clicks (received_at);

-- migration 8
-- What was asked and decided about a plan: the trigger, its trust, the gates when it was made, when
-- it began, and where one of them stopped it.
create table stories (
  plan_id text not null,
  point text not null,                   -- 'trigger', 'trust', 'planning', 'start', 'between'
  at real not null,
  data text not null,
  primary key (plan_id, point)
) without rowid;
-- Trust that playbooks have lost and been given back, and their circuit breakers.
create table trust (
  playbook text primary key,
  lost_at real,                          -- null: it has what the configuration allows
  reason text not null default '',
  opened_at real,                        -- when the breaker opened last; null: closed
  restored_at real not null default 0,   -- what failed before counts no more
  restored_by text
) without rowid;

-- migration 9
-- What is counted again and again: incidents that opened lately, actions that failed lately.
create index incidents_by_time on incidents (opened_at);
create index actions_that_failed on actions (ended_at) where state in ('failed', 'unknown');
