--- How many people have to approve a plan, and who they may be. The operator's configuration says
--- the least; a playbook can ask for more, for fewer people to choose from, or for both.
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

--- What is needed after a reload: never less than was shown.
function quorum.tighten(engine)
  engine.store:exec([[update approvals set needed = ?1 where needed < ?1 and exists (select 1
    from plans where id = plan_id and state = 'pending')]], engine.config.approvals.quorum)
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
---@param p table
---@param person string
---@return string?
function quorum.excludes(engine, p, person)
  local config = engine.config
  local progress = quorum.progress(engine.store, p.id)
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

return quorum
