--- The Status objects by which the Kubernetes fake says no, raised as errors of the request.
local status = {}

local Failure = {}

---@param code integer
---@param reason? string
---@param message string
---@param details? table
function status.new(code, reason, message, details)
  return setmetatable({ kind = 'Status', apiVersion = 'v1', metadata = {}, status = 'Failure',
    code = code, reason = reason, message = message, details = details }, Failure)
end

--- Whether what was raised is an answer and no bug.
function status.is(v) return getmetatable(v) == Failure end

function status.fail(...) error(status.new(...), 0) end

local function details(resource, name, more)
  local d = { name = name, group = resource.group ~= '' and resource.group or nil,
    kind = resource.plural }
  for k, v in pairs(more or {}) do d[k] = v end
  return d
end

function status.not_found(resource, name)
  status.fail(404, 'NotFound', ('%s "%s" not found'):format(resource.short, name),
    details(resource, name))
end

function status.exists(resource, name)
  status.fail(409, 'AlreadyExists', ('%s "%s" already exists'):format(resource.short, name),
    details(resource, name))
end

function status.conflict(resource, name, why, causes)
  status.fail(409, 'Conflict', ('Operation cannot be fulfilled on %s "%s": %s')
    :format(resource.short, name, why), details(resource, name, { causes = causes }))
end

status.MODIFIED = 'the object has been modified; please apply your changes to the latest version '
  .. 'and try again'

--- 422 with its causes: { { field, message, reason? }, … }.
function status.invalid(resource, name, problems)
  local causes, words = {}, {}
  for i, p in ipairs(problems) do
    causes[i] = { reason = p.reason or 'FieldValueInvalid', message = p.message, field = p.field }
    words[i] = ('%s: %s'):format(p.field, p.message)
  end
  local text = #words == 1 and words[1] or '[' .. table.concat(words, ', ') .. ']'
  status.fail(422, 'Invalid', ('%s%s "%s" is invalid: %s'):format(resource.kind,
    resource.group ~= '' and '.' .. resource.group or '', name, text),
    { name = name, group = resource.group ~= '' and resource.group or nil, kind = resource.kind,
      causes = causes })
end

--- A JSON Patch that does not fit, or whose test fails: the server does not say why.
function status.unprocessable()
  status.fail(422, 'Invalid', 'the server rejected our request due to an error in our request', {})
end

function status.bad_request(message) status.fail(400, 'BadRequest', message) end

--- The success of a deletion.
function status.success(resource, object)
  return { kind = 'Status', apiVersion = 'v1', metadata = {}, status = 'Success',
    details = details(resource, object.metadata.name, { uid = object.metadata.uid }) }
end

return status
