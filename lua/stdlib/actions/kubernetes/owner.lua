--- Who else sees to a field of an object: a tool that would put back what an action has changed, or
--- whose next run an action would break.
local owner = {}

-- Tools that keep objects as a repository has them, by the marks that they leave on them and the
-- names under which they write.
local TOOLS = {
  { name = 'Argo CD', managers = { 'argocd', 'argo-cd' },
    annotations = { 'argocd.argoproj.io/tracking-id' },
    labels = { 'argocd.argoproj.io/instance' } },
  { name = 'Flux', managers = { 'kustomize-controller', 'helm-controller', 'flux' },
    annotations = {},
    labels = { 'kustomize.toolkit.fluxcd.io/name', 'helm.toolkit.fluxcd.io/name' } },
  { name = 'Helm', managers = { 'helm' }, annotations = { 'meta.helm.sh/release-name' },
    labels = {}, managed_by = 'Helm' },
}

-- Those that write again and again without declaring (by server-side apply) what is theirs.
local CONTROLLERS = { 'argocd', 'argo-cd', 'kustomize-controller', 'helm-controller', 'flux',
  'keda', 'vpa', 'fleet', 'crossplane' }

local OURS = 'perigee'

local function begins_with(text, list)
  for _, one in ipairs(list) do
    if text:lower():sub(1, #one) == one then return true end
  end
  return false
end

--- Whether a set of fields holds a path, or anything below it. A list's items are told apart by
--- keys that a position does not know: whoever has one of them has the list.
local function holds(fields, path)
  for _, step in ipairs(path) do
    if type(fields) ~= 'table' then return false end
    if step == '-' or step:find '^%d+$' then return true end
    local below = fields['f:' .. step]
    if not below then return false end
    if next(below) == nil then return true end
    fields = below
  end
  return true
end

--- The words for a controller that has made the object from another one, or nil.
local function controller_of(metadata)
  for _, reference in ipairs(metadata.ownerReferences or {}) do
    if reference.controller then
      return ('%s %s controls this object'):format(reference.kind, reference.name)
    end
  end
end

--- The tool whose marks an object bears, or nil.
local function tool_of(metadata)
  local labels, annotations = metadata.labels or {}, metadata.annotations or {}
  for _, tool in ipairs(TOOLS) do
    for _, name in ipairs(tool.labels) do
      if labels[name] then return tool end
    end
    for _, name in ipairs(tool.annotations) do
      if annotations[name] then return tool end
    end
    if tool.managed_by and labels['app.kubernetes.io/managed-by'] == tool.managed_by then
      return tool
    end
  end
end

--- Who has declared a field as theirs, and whether a tool that is known to write to the object has
--- left this field alone.
local function managers_of(metadata, path, tool)
  local declared, tool_writes
  for _, entry in ipairs(metadata.managedFields or {}) do
    local manager = entry.manager or ''
    local has = holds(entry.fieldsV1, path)
    local insists = entry.operation == 'Apply' or begins_with(manager, CONTROLLERS)
    if manager ~= OURS and has and insists then declared = declared or manager end
    if tool and begins_with(manager, tool.managers) then
      tool_writes = has or tool_writes or false
    end
  end
  return declared, tool_writes
end

--- The words for whoever else sees to a field; and the words of a warning where a tool sees to the
--- object but not to this field of it.
---@param object table
---@param path string[]  { "spec", "replicas" }
---@return string? owner
---@return string? warning
function owner.of(object, path)
  local metadata = object.metadata
  local tool, field = tool_of(metadata), table.concat(path, '.')
  local declared, tool_writes = managers_of(metadata, path, tool)
  if declared then
    return ('%s owns %s%s'):format(declared, field, tool
      and (' (the object is %s\'s, which would undo this)'):format(tool.name) or '')
  end
  if not tool then return controller_of(metadata) end
  if tool_writes == false then
    return nil, ('%s sees to this object, and leaves %s alone'):format(tool.name, field)
  end
  return ('%s sees to this object, %s included: it would undo this'):format(tool.name, field)
end

return owner
