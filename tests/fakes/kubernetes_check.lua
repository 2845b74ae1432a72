--- Objects as the Kubernetes fake takes them in: fields of the right type, defaults, and what must
--- hold between them.
local json = require 'json'
local patch = require 'fakes.kubernetes_patch'
local status = require 'fakes.kubernetes_status'
local types = require 'fakes.kubernetes_types'

local check = {}

-- -- types ----------------------------------------------------------------------------------------

local function is_time(v)
  return type(v) == 'string' and v:find '^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.?%d*[Z+-]' ~= nil
end

local SIMPLE = {
  str = function(v) return type(v) == 'string' end,
  int = function(v) return math.type(v) == 'integer' and math.abs(v) < 1 << 31 end,
  bool = function(v) return type(v) == 'boolean' end,
  time = is_time,
  intstr = function(v) return type(v) == 'string' or math.type(v) == 'integer' end,
  any = function() return true end,
  obj = function(v) return type(v) == 'table' and not patch.is_list(v) end,
  map = function(v)
    if type(v) ~= 'table' or patch.is_list(v) then return false end
    for _, item in pairs(v) do
      if type(item) ~= 'string' and type(item) ~= 'number' then return false end
    end
    return true
  end,
}

local walk

local function wrong(path, expected, v)
  return { field = path, message = ('Invalid value: %s: expected %s')
    :format(type(v) == 'table' and 'an object or a list' or json.encode(v), expected) }
end

local function walk_list(list, field, path, out)
  if type(list) ~= 'table' or not patch.is_list(list) and next(list) ~= nil then
    return table.insert(out.wrong, wrong(path, 'a list', list))
  end
  json.array(list)
  for i, item in ipairs(list) do
    local test, at = SIMPLE[field.type], ('%s[%d]'):format(path, i - 1)
    if not test then
      walk(item, field.type, at, out)
    elseif not test(item) then
      table.insert(out.wrong, wrong(at, field.type, item))
    end
  end
end

function walk(object, type_, path, out)
  if type(object) ~= 'table' or patch.is_list(object) then
    return table.insert(out.wrong, wrong(path, 'an object', object))
  end
  local fields = types.fields[type_]
  for name, v in pairs(object) do
    local field, at = fields[name], path == '' and name or path .. '.' .. name
    if v == json.null then
      object[name] = nil
    elseif not field then
      out.unknown[#out.unknown + 1] = at
      object[name] = nil
    elseif field.list then
      walk_list(v, field, at, out)
    elseif not SIMPLE[field.type] then
      walk(v, field.type, at, out)
    elseif not SIMPLE[field.type](v) then
      table.insert(out.wrong, wrong(at, field.type, v))
    end
  end
  for name, field in pairs(fields) do
    if field.required and object[name] == nil then
      table.insert(out.missing, { field = path == '' and name or path .. '.' .. name,
        message = 'Required value', reason = 'FieldValueRequired' })
    end
  end
end

-- -- defaults -------------------------------------------------------------------------------------

local function default(t, values)
  for k, v in pairs(values) do
    if t[k] == nil then t[k] = patch.clone(v) end
  end
end

local function pod_defaults(spec)
  default(spec, { restartPolicy = 'Always', dnsPolicy = 'ClusterFirst', schedulerName =
    'default-scheduler', securityContext = {}, terminationGracePeriodSeconds = 30 })
  for _, list in ipairs { spec.containers or {}, spec.initContainers or {} } do
    for _, c in ipairs(list) do
      default(c, { resources = {}, terminationMessagePath = '/dev/termination-log',
        terminationMessagePolicy = 'File',
        imagePullPolicy = (c.image or ''):find ':[^:/]+$' and not (c.image or ''):find ':latest$'
          and 'IfNotPresent' or 'Always' })
      for _, port in ipairs(c.ports or {}) do default(port, { protocol = 'TCP' }) end
    end
  end
end

local ROLLING = { maxSurge = '25%', maxUnavailable = '25%' }

local DEFAULTS = {
  Deployment = function(s)
    default(s, { replicas = 1, revisionHistoryLimit = 10, progressDeadlineSeconds = 600,
      strategy = {} })
    default(s.strategy, { type = 'RollingUpdate' })
    if s.strategy.type == 'RollingUpdate' then
      default(s.strategy, { rollingUpdate = {} })
      default(s.strategy.rollingUpdate, ROLLING)
    end
  end,
  ReplicaSet = function(s) default(s, { replicas = 1 }) end,
  StatefulSet = function(s)
    default(s, { replicas = 1, revisionHistoryLimit = 10, podManagementPolicy = 'OrderedReady',
      serviceName = '', updateStrategy = { type = 'RollingUpdate', rollingUpdate = {
        partition = 0 } } })
  end,
  DaemonSet = function(s)
    default(s, { revisionHistoryLimit = 10, updateStrategy = { type = 'RollingUpdate',
      rollingUpdate = { maxSurge = 0, maxUnavailable = 1 } } })
  end,
  HorizontalPodAutoscaler = function(s) default(s, { minReplicas = 1 }) end,
  Pod = pod_defaults,
}

-- -- what must hold -------------------------------------------------------------------------------

local function negative(out, spec, names)
  for _, name in ipairs(names) do
    if (spec[name] or 0) < 0 then
      table.insert(out, { field = 'spec.' .. name, message =
        ('Invalid value: %d: must be greater than or equal to 0'):format(spec[name]) })
    end
  end
end

local function containers(out, spec, path)
  if #(spec.containers or {}) == 0 then
    table.insert(out, { field = path .. '.containers', message = 'Required value',
      reason = 'FieldValueRequired' })
  end
  local seen = {}
  for i, c in ipairs(spec.containers or {}) do
    local at = ('%s.containers[%d]'):format(path, i - 1)
    if not c.name:find '^[a-z0-9][a-z0-9-]*$' then
      table.insert(out, { field = at .. '.name', message =
        ('Invalid value: "%s": a lowercase RFC 1123 label must consist of lower case alphanumeric '
          .. 'characters or \'-\''):format(c.name) })
    elseif seen[c.name] then
      table.insert(out, { field = at .. '.name', message = ('Duplicate value: "%s"')
        :format(c.name), reason = 'FieldValueDuplicate' })
    end
    seen[c.name] = true
    if (c.image or '') == '' then
      table.insert(out, { field = at .. '.image', message = 'Required value',
        reason = 'FieldValueRequired' })
    end
  end
end

--- The selector chooses the template's pods, and never changes.
local function workload(out, new, old)
  local spec = new.spec
  negative(out, spec, { 'replicas', 'minReadySeconds', 'revisionHistoryLimit',
    'progressDeadlineSeconds' })
  if not spec.template then return end
  local labels = (spec.template.metadata or {}).labels or {}
  for k, v in pairs(spec.selector.matchLabels or {}) do
    if labels[k] ~= v then
      table.insert(out, { field = 'spec.template.metadata.labels', message =
        ('Invalid value: %s: `selector` does not match template `labels`')
        :format(json.encode(labels)) })
      break
    end
  end
  if not next(spec.selector) then
    table.insert(out, { field = 'spec.selector', message = 'Invalid value: {}: empty selector is '
      .. 'invalid for ' .. new.kind:lower() })
  end
  if old and not patch.equal(old.spec.selector, spec.selector) then
    table.insert(out, { field = 'spec.selector', message = ('Invalid value: %s: field is immutable')
      :format(json.encode(spec.selector)) })
  end
  containers(out, spec.template.spec or {}, 'spec.template.spec')
end

local RULES = { Deployment = workload, ReplicaSet = workload, StatefulSet = workload,
  DaemonSet = workload }

function RULES.HorizontalPodAutoscaler(out, new)
  local s = new.spec
  if s.minReplicas < 1 then
    table.insert(out, { field = 'spec.minReplicas', message =
      ('Invalid value: %d: must be greater than or equal to 1'):format(s.minReplicas) })
  end
  if s.maxReplicas < s.minReplicas then
    table.insert(out, { field = 'spec.maxReplicas', message = ('Invalid value: %d: must be '
      .. 'greater than or equal to `minReplicas`'):format(s.maxReplicas) })
  end
end

function RULES.Pod(out, new, old)
  containers(out, new.spec, 'spec')
  if not old then return end
  local a, b = patch.clone(old.spec), patch.clone(new.spec)
  for _, s in ipairs { a, b } do -- what may change
    s.activeDeadlineSeconds, s.tolerations, s.terminationGracePeriodSeconds = nil, nil, nil
    for _, c in ipairs(s.containers) do c.image = nil end
  end
  if not patch.equal(a, b) then
    table.insert(out, { field = 'spec', message = 'Forbidden: pod updates may not change fields '
      .. 'other than `spec.containers[*].image`', reason = 'FieldValueForbidden' })
  end
end

-- What the server demands of an Event once it has an eventTime.
local NEW_EVENT = { 'reportingComponent', 'reportingInstance', 'action', 'reason' }

function RULES.Event(out, new)
  local namespace, own = new.involvedObject.namespace or '', new.metadata.namespace
  if new.eventTime then
    for _, name in ipairs(NEW_EVENT) do
      if (new[name] or '') == '' then
        table.insert(out, { field = name, message = 'Required value',
          reason = 'FieldValueRequired' })
      elseif #new[name] > 128 then
        table.insert(out, { field = name, message = 'Too long: may not be more than 128 bytes' })
      end
    end
    if #(new.message or '') > 1024 then
      table.insert(out, { field = 'message',
        message = 'Too long: may not be more than 1024 bytes' })
    end
  end
  if (namespace == '' and own ~= 'default' and not (new.eventTime and own == 'kube-system'))
    or namespace ~= '' and namespace ~= own then
    table.insert(out, { field = 'involvedObject.namespace', message =
      ('Invalid value: "%s": does not match event.namespace'):format(namespace) })
  end
end

function RULES.Lease(out, new)
  local seconds = (new.spec or {}).leaseDurationSeconds
  if seconds and seconds <= 0 then
    table.insert(out, { field = 'spec.leaseDurationSeconds', message =
      ('Invalid value: %d: must be greater than 0'):format(seconds) })
  end
  for _, name in ipairs { 'acquireTime', 'renewTime' } do
    local time = (new.spec or {})[name]
    if time and not time:find '%.%d%d%d%d%d%d[Z+-]' then
      status.bad_request(('Lease in version "v1" cannot be handled as a Lease: parsing time "%s"')
        :format(time))
    end
  end
end

-- -- all of it ------------------------------------------------------------------------------------

local function name(out, metadata)
  local n = metadata.name or metadata.generateName
  if n and (#n > 253 or not n:find '^[a-z0-9][a-z0-9.-]*$' or metadata.name and n:find '[.-]$')
    and not metadata.deletionTimestamp then
    table.insert(out, { field = 'metadata.name', message = ('Invalid value: "%s": a lowercase RFC '
      .. '1123 subdomain must consist of lower case alphanumeric characters, \'-\' or \'.\'')
      :format(n) })
  end
end

local function labels(out, metadata)
  for k, v in pairs(metadata.labels or {}) do
    if type(v) ~= 'string' or #v > 63 or v ~= '' and not v:find '^%w[%w_.-]*$' then
      table.insert(out, { field = 'metadata.labels', message = ('Invalid value: %s: a valid label '
        .. 'must be an empty string or consist of alphanumeric characters, \'-\', \'_\' or \'.\'')
        :format(json.encode(v)), key = k })
    end
  end
end

--- Raises 400 for a configuration to be applied whose fields are of the wrong type.
function check.shape(resource, config)
  local out = { wrong = {}, unknown = {}, missing = {} }
  walk(config, resource.kind, '', out)
  if out.wrong[1] then
    status.bad_request(('failed to create typed patch object (%s/%s; %s, Kind=%s): .%s: %s'):format(
      config.metadata.namespace or '', config.metadata.name, resource.api_version, resource.kind,
      out.wrong[1].field, out.wrong[1].message))
  end
  if out.unknown[1] then
    status.bad_request(('failed to create typed patch object: .%s: field not declared in schema')
      :format(out.unknown[1]))
  end
end

--- Takes an object in: fills defaults in, drops what is not known. Raises 422 (or 400 where one is
--- created) for what may not be.
---@param resource fakes.Resource
---@param object table
---@param old? table     what it replaces
---@param strict boolean unknown fields are refused
---@return string[] unknown  fields that were dropped
function check.take_in(resource, object, old, strict)
  local out = { wrong = {}, unknown = {}, missing = {} }
  local its_name = type(object.metadata) == 'table' and object.metadata.name or ''
  walk(object, resource.kind, '', out)
  if strict and #out.unknown > 0 then
    local problems = {}
    for i, path in ipairs(out.unknown) do
      problems[i] = { field = 'patch', message = ('Invalid value: strict decoding error: unknown '
        .. 'field "%s"'):format(path) }
    end
    if not old then status.bad_request('strict decoding error: ' .. problems[1].message) end
    status.invalid(resource, its_name, problems)
  end
  if #out.wrong > 0 then
    if not old then
      status.bad_request(('%s in version "%s" cannot be handled as a %s: %s: %s')
        :format(resource.kind, resource.version, resource.kind, out.wrong[1].field,
          out.wrong[1].message))
    end
    status.invalid(resource, its_name, out.wrong)
  end
  if #out.missing > 0 then status.invalid(resource, its_name, out.missing) end
  check.hold(resource, object, old)
  return out.unknown
end

--- Defaults, and what must hold between fields.
function check.hold(resource, object, old)
  local problems, spec = {}, object.spec
  if spec and DEFAULTS[resource.kind] then DEFAULTS[resource.kind](spec) end
  if spec and type(spec.template) == 'table' and spec.template.spec then
    pod_defaults(spec.template.spec)
  end
  name(problems, object.metadata)
  labels(problems, object.metadata)
  if RULES[resource.kind] and (spec or not types.fields[resource.kind].spec) then
    RULES[resource.kind](problems, object, old)
  end
  if #problems > 0 then status.invalid(resource, object.metadata.name or '', problems) end
end

return check
