--- How far a plan is trusted: what its playbook says, and what has happened since may take away.
local previews = require 'engine.previews'

local trust = {}

--- The trust that is left.
---@param engine table
---@param def table  the playbook
---@param p { target: string, actions: table[], previews: Action.Preview[] }
---@return string trust
---@return string? reason  why it is less than the playbook says
function trust.of(engine, def, p)
  if def.trust ~= 'auto' then return def.trust end
  local owner = previews.owner(p.previews)
  if owner then return 'recommend', 'trust lowered from auto: ' .. owner end
  local last = engine.store:row([[select id, state from plans where playbook = ? and target = ?
    and state in ('executed', 'failed', 'unknown') order by created_at desc limit 1]], def.name,
    p.target)
  if last and last.state == 'unknown' then
    return 'human_approve',
      ('trust lowered from auto: the outcome of %s is unknown'):format(last.id)
  end
  return def.trust
end

return trust
