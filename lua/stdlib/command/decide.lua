--- What `perigee approve` and `perigee reject` share: the plan as it is now, and the decision,
--- bound to its digest.
local cli = require 'command.cli'
local plan_view = require 'command.plan_view'

---@param verb "approve"|"reject"
return function(verb)
  local spec = {
    usage = verb .. ' ID',
    summary = ('%ss a plan, exactly as "perigee approvals" shows it.'):format(
      verb:gsub('^%l', string.upper)),
    least = 1, most = 1,
    options = cli.options({
      { name = 'digest', value = 'DIGEST',
        help = 'the one that was shown; else that of the plan as it is now' },
      { name = 'reason', value = 'TEXT', help = 'is kept with the decision' },
    }, cli.REMOTE),
  }

  return function(...)
    local values, status = cli.parse(spec, ...)
    if not values then return status end
    if not values[1]:match '^[%w%-]+$' then
      cli.error(('"%s" is no id of a plan'):format(cli.plain(values[1])))
      return cli.USAGE
    end
    local path = '/api/v1/plans/' .. values[1]
    local digest = values.digest
    if not digest then
      local p, failed = cli.get(values, 'GET', path)
      if not p then return failed end
      digest = p.digest
    end
    local data, failed = cli.get(values, 'POST', path .. '/' .. verb,
      { digest = digest, reason = values.reason })
    if not data then return failed end
    if values.json then cli.print_json(data) else plan_view.show(data) end
    return cli.DONE
  end
end
