--- What may go wrong with a request to the Kubernetes fake.
local async = require 'async'
local check = require 'check'
local json = require 'json'
local status = require 'fakes.kubernetes_status'

local faults = {}

---@class fakes.Fault
---@field method? string     any
---@field path? string       a Lua pattern that the path holds; any
---@field query? string      the same of the query, such as "watch=" or "dryRun=All"
---@field times? integer     how often it strikes; 1
---@field skip? integer      requests that it lets pass before that
---@field delay? number      seconds before the request is looked at
---@field status? integer    the answer; with reason, message, retry_after (seconds)
---@field reason? string, message? string, retry_after? integer
---@field drop? "before"|"after"  the connection ends without an answer, before or after the change
---       is stored
---@field late? boolean      the status is answered after the change is stored
---@field in_stream? boolean  the status comes as a watch's ERROR line, with 200
---@field restart? boolean   the server also starts anew
---@field hits? integer      how often it has struck
local FAULT = {
  method = check.string(), path = check.string(), query = check.string(),
  times = check.number(1, { min = 1 }),
  skip = check.number(0, { min = 0, integer = true }), delay = check.number(0, { min = 0 }),
  status = check.number(nil, { min = 200, max = 599, integer = true }),
  reason = check.string(), message = check.string(),
  retry_after = check.number(nil, { min = 0, integer = true }),
  drop = check.one_of(nil, { 'before', 'after' }), late = check.boolean(false),
  in_stream = check.boolean(false), restart = check.boolean(false), hits = check.any(),
}

local REASONS = { [400] = 'BadRequest', [401] = 'Unauthorized', [403] = 'Forbidden',
  [404] = 'NotFound', [409] = 'Conflict', [410] = 'Expired', [422] = 'Invalid',
  [429] = 'TooManyRequests', [500] = 'InternalError', [503] = 'ServiceUnavailable',
  [504] = 'Timeout' }

--- The fault with its defaults.
function faults.check(fault)
  for k, v in pairs(check.options('fault', fault, FAULT)) do fault[k] = v end
  fault.hits = 0
  return fault
end

local function strikes(fault, request)
  if fault.method and fault.method ~= request.method
    or fault.path and not request.path:find(fault.path)
    or fault.query and not request.query:find(fault.query) or fault.hits >= fault.times then
    return false
  end
  if fault.skip > 0 then
    fault.skip = fault.skip - 1
    return false
  end
  fault.hits = fault.hits + 1
  return true
end

local function refusal(fault)
  local object = status.new(fault.status, fault.reason or REASONS[fault.status],
    fault.message or 'a fault of the test', { retryAfterSeconds = fault.retry_after })
  local headers = { ['Content-Type'] = 'application/json' }
  if fault.in_stream then
    return { headers = headers, body = json.encode { type = 'ERROR', object = object } .. '\n' }
  end
  if fault.retry_after then headers['Retry-After'] = tostring(fault.retry_after) end
  return { status = fault.status, headers = headers, body = json.encode(object) }
end

local function strike(fake, fault, request, answer)
  if fault.delay > 0 then async.sleep(fault.delay) end
  local result
  if fault.drop == 'after' or fault.late or not (fault.drop or fault.status) then
    result = answer(request)
  end
  if fault.restart then fake:restart() end
  if fault.drop then return { drop = true } end
  return fault.status and refusal(fault) or result
end

--- Answers a request with whatever goes wrong with it.
---@param fake fakes.Kubernetes
---@param answer fun(): table
function faults.around(fake, request, answer)
  for _, fault in ipairs(fake.faults) do
    if strikes(fault, request) then return strike(fake, fault, request, answer) end
  end
  return answer()
end

return faults
