--- `perigee audit`: shows the audit trail, or proves it whole.
local audit = require 'engine.audit'
local cli = require 'command.cli'
local json = require 'perigee.json'

local PAGE = 1000

--- Calls f with each record, page by page.
local function each(values, f)
  local after = 0
  repeat
    local path = ('/api/v1/audit?after=%d&limit=%d'):format(after, PAGE)
    local data, failed = cli.get(values, 'GET', path)
    if not data then return nil, failed end
    for _, record in ipairs(data.records) do
      local ok, message = f(record)
      if not ok then return nil, nil, message end
      after = record.sequence
    end
  until #data.records < PAGE
  return true
end

local function verify(values)
  local verifier = audit.verifier()
  local ok, failed, message = each(values, function(record) return verifier:add(record) end)
  if failed then return failed end
  if ok then ok, message = verifier:finish(values.head) end
  if values.json then
    cli.print_json { ok = ok == true, records = verifier.records,
      head = verifier.head or audit.GENESIS, message = message }
  elseif ok then
    print(('the trail is whole: %d records, head %s'):format(verifier.records,
      verifier.head or audit.GENESIS))
  else
    cli.error(message)
  end
  return ok and cli.DONE or cli.NOT_AS_IT_SHOULD_BE
end

local HIDDEN = { sequence = true, at = true, kind = true, prev_hash = true, hash = true }

local function show(record)
  local rest = {}
  for name, value in pairs(record) do
    if not HIDDEN[name] then rest[name] = value end
  end
  print(('%5d  %s  %-20s %s'):format(record.sequence, cli.time_text(record.at), record.kind,
    cli.plain(json.encode(rest))))
end

local SPEC = {
  usage = 'audit [--verify [--head HASH]]',
  summary = 'Shows the audit trail, oldest first, or proves that it is whole.',
  options = cli.options({
    { name = 'verify', help = 'checks the chain of hashes from the first record on' },
    { name = 'head', value = 'HASH', help = 'a head noted earlier, which must be in the chain' },
  }, cli.REMOTE),
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  if values.verify then return verify(values) end
  if values.head then
    cli.error '--head goes with --verify'
    return cli.USAGE
  end
  local records = json.array()
  local ok, failed = each(values, function(record)
    if values.json then records[#records + 1] = record else show(record) end
    return true
  end)
  if not ok then return failed end
  if values.json then cli.print_json(records) end
  return cli.DONE
end
