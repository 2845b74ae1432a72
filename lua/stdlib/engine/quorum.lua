--- How many people have to approve a plan, and who they may be. The operator's configuration says
--- the least; a playbook can ask for more, for fewer people to choose from, or for both.
local audit = require 'engine.audit'
local clock = require 'perigee.clock'

local quorum = {}

--- A person, whichever of their names is used: a token's and its slack_user's are one.
---@param config table
---@param who string  the name of a token, or a user's id in Slack
---@return string
function quorum.person(config, who)
  for _, token in ipairs(config.auth.tokens) do
    if token.name == who then return token.slack_user or token.name end
  end
  return who
end

local function is_member(config, group, person)
  for _, member in ipairs(config.approvals.groups[group] or {}) do
    if quorum.person(config, member) == person then return true end
  end
  return false
end

--- Keeps what a plan that begins to wait for approval needs.
---@param engine table
---@param p { id: string, playbook: string, requester?: string }
function quorum.open(engine, p)
  local least = engine.config.approvals
  local def = engine.rules.playbooks[p.playbook]
  local own = def and def.approval or {} -- of a list of remediations there is none
  local remind = own.remind or least.remind
  engine.store:exec([[insert into approvals
    (plan_id, needed, voters, requester, remind_every, remind_at) values (?, ?, ?, ?, ?, ?)]], p.id,
    math.max(least.quorum, own.quorum or 1), own.group or '', p.requester or '', remind,
    remind > 0 and clock.now() + remind or nil)
end

--- How far the approvals of a plan are; nil where it never waited for one.
---@param store perigee.Store
---@param id string
---@return { given: integer, needed: integer, group?: string, requester?: string }?
function quorum.progress(store, id)
  local row = store:row('select * from approvals where plan_id = ?', id)
  if not row then return nil end
  local given = store:row([[select count(distinct person) as n from decisions where plan_id = ?
    and decision = 'approved']], id).n
  return { given = given, needed = row.needed, group = row.voters ~= '' and row.voters or nil,
    requester = row.requester ~= '' and row.requester or nil }
end

--- Why a person's approval would not count, or nil. Anybody who may decide at all may reject: that
--- is never the dangerous side.
---@param engine table
---@param id string  of the plan
---@param person string
---@return string?
function quorum.excludes(engine, id, person)
  local config = engine.config
  local progress = quorum.progress(engine.store, id)
  if progress.requester and quorum.person(config, progress.requester) == person then
    return 'who asked for a plan does not approve it'
  end
  local groups = {}
  for _, group in pairs { config.approvals.group, progress.group } do groups[group] = true end
  for group in pairs(groups) do
    if not is_member(config, group, person) then
      return ('only members of %s approve it (approvals.groups)'):format(group)
    end
  end
end

--- Whether a person may still vote by the way by which they have. Who is in a user group of Slack
--- is known there alone.
local function may_vote(config, vote, person)
  if vote.via ~= 'slack' then
    for _, token in ipairs(config.auth.tokens) do
      if token.name == vote.who then return token.role == 'approver' or token.role == 'admin' end
    end
    return false
  end
  for _, approver in ipairs(config.slack and config.slack.approvers or {}) do
    if approver == person then return true end
  end
  return config.slack ~= nil and #config.slack.user_groups > 0
end

--- What is needed after a reload: never less than was shown, and by people who may still approve.
--- A vote is that of the person whose name it is now.
function quorum.tighten(engine)
  local store, config = engine.store, engine.config
  store:exec([[update approvals set needed = ?1 where needed < ?1 and exists (select 1
    from plans where id = plan_id and state = 'pending')]], config.approvals.quorum)
  for _, vote in ipairs(store:rows [[select decisions.* from decisions join plans on id = plan_id
    where state = 'pending' and decision = 'approved']]) do
    local person = quorum.person(config, vote.who)
    local counts = may_vote(config, vote, person)
      and not quorum.excludes(engine, vote.plan_id, person)
    store:exec([[update decisions set person = ?, decision = ? where plan_id = ?
      and position = ?]], person, counts and 'approved' or 'withdrawn', vote.plan_id,
      vote.position)
    if not counts then
      audit.append(store, 'vote_withdrawn', { plan = vote.plan_id, who = vote.who, via = vote.via,
        reason = 'after a reload they may not approve it any more' })
    end
  end
end

return quorum
