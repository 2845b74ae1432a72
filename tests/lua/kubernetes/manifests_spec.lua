-- examples/kubernetes: what is there is what Perigee needs, and no more.
local check = require 'check'
local config = require 'config'
local fakes = require 'fakes.kubernetes'
local file = require 'perigee.file'
local json = require 'json'
local judge = require 'fakes.kubernetes_judge'
local kubernetes = require 'kubernetes'
local load_rules = require 'rules.load'
local registry = require 'actions.registry'
local support = require 'lua.kubernetes.support'
local yaml = require 'yaml'

local FOLDER = 'examples/kubernetes/'
local USER = 'system:serviceaccount:perigee:perigee'

--- The documents of a manifest.
local function documents(path)
  local out = {}
  for text in (assert(file.read(path)) .. '\n---\n'):gmatch '(.-)\n%-%-%-\n' do
    local value, problem = yaml.decode(text)
    assert(value, problem and ('%s: %s'):format(path, problem.message))
    out[#out + 1] = value
  end
  return out
end

local function paths() return assert(file.glob(FOLDER .. 'rbac/*.yaml')) end

local fake

--- A fake where Perigee may do what these files of rbac/ say, and nothing else.
local function start(features, more)
  fake = fakes.start { tokens = { ['the-token-of-perigee'] = USER },
    objects = { fakes.deployment 'shop/checkout', table.unpack(more or {}) } }
  for _, feature in ipairs(features) do
    for _, object in ipairs(documents(FOLDER .. 'rbac/' .. feature .. '.yaml')) do
      fake:put(object)
    end
  end
  local changed = fake:get('Deployment', 'shop', 'checkout')
  changed = json.decode(json.encode(changed))
  changed.spec.template.spec.containers[1].image = 'checkout:2' -- there is something to go back to
  fake:put(changed)
  return assert(kubernetes.client { kubeconfig = support.kubeconfig(fake.url,
    'token: the-token-of-perigee') })
end

after_each(function()
  if fake then fake:stop() end
  fake = nil
  support.tidy()
end)

--- Carries an action out, as far as it is let. Returns what came of it, and of which part.
local function act(client, name, arguments)
  local action = registry.get(name)
  local args, problems = check.apply(arguments, action.spec)
  assert.equal(0, #problems, problems[1] and check.words(problems[1]))
  local context = { kubernetes = client, key = 'plan-1-1-forward', purpose = 'run', config = {
    guardrails = { kubernetes_patch = { { resources = { 'deployments' },
      paths = { '/metadata/labels/drained' } } } } } }
  local preview, failure = action.preview(args, context)
  if not preview then return 'failed', failure.message end
  assert.is_nil(preview.refusal or preview.nothing)
  context.before = preview.before
  local outcome = action.run(args, context)
  if outcome.result ~= 'succeeded' or not action.settled then
    return outcome.result, outcome.message
  end
  for _ = 1, 3 do
    local settled, how_far = action.settled(args, context)
    if settled then return settled.result, settled.message end
    outcome.message = how_far
  end
  return 'failed', outcome.message
end

local function a_pod()
  for _, pod in ipairs(fake:list('Pod', 'shop')) do
    if pod.metadata.labels.app == 'checkout' then return pod.metadata.name end
  end
end

local DB, AGENT = { fakes.statefulset 'shop/db' }, { fakes.daemonset 'shop/agent' }
local SCALED = { fakes.deployment 'shop/scaled', fakes.autoscaler('shop/scaled', 2, 8) }

-- Each action with the one file beside read.yaml that it needs, its arguments, and what there is
-- beside the Deployment "checkout".
local ACTIONS = {
  { 'kubernetes.restart', 'restart-pods', function() return { namespace = 'shop',
    pod = a_pod() } end },
  { 'kubernetes.restart', 'delete-pods', function() return { namespace = 'shop', pod = a_pod(),
    delete = true } end },
  { 'kubernetes.restart', 'change-workloads', { namespace = 'shop', deployment = 'checkout' } },
  { 'kubernetes.restart', 'change-workloads', { namespace = 'shop', statefulset = 'db' }, DB },
  { 'kubernetes.restart', 'change-workloads', { namespace = 'shop', daemonset = 'agent' }, AGENT },
  { 'kubernetes.rollback', 'change-workloads', { namespace = 'shop', deployment = 'checkout' } },
  { 'kubernetes.patch', 'change-workloads', { namespace = 'shop', resource = 'deployments',
    name = 'checkout', merge = { metadata = { labels = { drained = 'yes' } } } } },
  { 'kubernetes.scale', 'scale', { namespace = 'shop', deployment = 'checkout', increment = 1 } },
  { 'kubernetes.scale', 'scale', { namespace = 'shop', statefulset = 'db', increment = -1 },
    DB },
  { 'kubernetes.scale', 'autoscalers', { namespace = 'shop', deployment = 'scaled', increment = 1,
    autoscaler = true }, SCALED },
  { 'kubernetes.cordon', 'nodes', { node = 'node-1' } },
}

local NEVER = {}
for _, word in ipairs { 'escalate', 'bind', 'impersonate', 'deletecollection', 'secrets', 'roles',
  'rolebindings', 'clusterroles', 'clusterrolebindings', 'serviceaccounts', 'pods/exec' } do
  NEVER[word] = true
end

describe('the manifests of RBAC', function()
  it('name what they allow, never all', function()
    for _, path in ipairs(paths()) do
      for _, object in ipairs(documents(path)) do
        for _, rule in ipairs(object.rules or {}) do
          assert.is_nil(json.encode(rule):find('*', 1, true), path)
          for _, list in ipairs { rule.verbs, rule.resources } do
            for _, word in ipairs(list) do assert.is_nil(NEVER[word], path) end
          end
        end
      end
    end
  end)

  for _, case in ipairs(ACTIONS) do
    local name, feature, arguments, more = table.unpack(case)
    local title = ('allow %s by %s.yaml'):format(name, feature)
    it(title .. (type(arguments) == 'table' and ' ' .. json.encode(arguments) or ''), function()
      local client = start({ 'read', 'events', feature }, more)
      local args = type(arguments) == 'function' and arguments() or arguments
      local result, message = act(client, name, args)
      assert.equal('succeeded', result, message)
      local changed = false
      for _, c in ipairs(fake:changes 'perigee') do
        changed = changed or c.kind ~= 'Event'
      end
      assert.is_true(changed or args.pod ~= nil)
      for _, request in ipairs(fake:asked()) do assert.not_equal(403, request.status) end
    end)

    it('do not ' .. title .. ' where it is left out', function()
      local client = start({ 'read', 'events' }, more)
      local args = type(arguments) == 'function' and arguments() or arguments
      local version = fake.store.version
      local result, message = act(client, name, args)
      assert.equal('failed', result)
      assert.matches('cannot %l+ resource', message)
      assert.equal(version, fake.store.version)
      assert.is_true(#fake:asked() > 0)
    end)
  end

  it('let it tell what it does, and count what it says again', function()
    local client = start { 'read', 'events' }
    local object = assert(client:get('deployments', 'shop', 'checkout'))
    for _ = 1, 2 do
      assert(client:event(object, { type = 'Normal', reason = 'Tried', message = 'again' }))
    end
    assert.equal(2, fake:list('Event', 'shop')[1].count)
  end)

  it('let it watch events of a namespace, or of all where that is given', function()
    local stop = function() return false end
    for feature, elsewhere in pairs { events = false, ['events-everywhere'] = true } do
      local client = start { feature }
      for _, namespace in ipairs { 'shop', 'default' } do
        local ended, failure = client:watch('events', namespace, {}, stop)
        local allowed = elsewhere or namespace == 'shop'
        assert.same({ allowed or nil, not allowed and 403 or nil },
          { ended, failure and failure.status })
      end
      assert.equal(elsewhere or nil, (client:watch('events', nil, {}, stop)))
      fake:stop()
    end
  end)

  it('let it have its own lease, and no other', function()
    local client = start { 'leases' }
    local lease = client:lease { namespace = 'perigee', name = 'perigee', holder = 'perigee-0' }
    assert.is_true(lease:try())
    assert.is_true(lease:try())
    assert.equal('perigee-0', fake:get('Lease', 'perigee', 'perigee').spec.holderIdentity)
    lease = client:lease { namespace = 'perigee', name = 'another', holder = 'perigee-0' }
    assert.is_false(lease:try())
    local _, failure = client:get('leases', 'shop', 'perigee')
    assert.equal(403, failure.status)
  end)

  it('let it read what it needs, and nothing elsewhere', function()
    local client = start { 'read' }
    assert.is_true(#assert(client:list('pods', 'shop')).items > 0)
    for _, where in ipairs { 'kube-system', 'default' } do
      local list, failure = client:list('pods', where)
      assert.same({ nil, 403, 'Forbidden' }, { list, failure.status, failure.reason })
    end
    local _, failure = client:list 'pods'
    assert.equal(403, failure.status)
    _, failure = client:list('secrets', 'shop')
    assert.equal(403, failure.status)
  end)
end)

describe('the manifests of Perigee', function()
  local function manifest(name) return documents(FOLDER .. name .. '.yaml') end

  it('are what the API describes, with an account that has no right of its own', function()
    fake = fakes.start()
    for _, name in ipairs { 'deployment', 'sidecar' } do
      for _, object in ipairs(manifest(name)) do
        fake:put(object)
        if object.kind == 'Deployment' then
          local pod = object.spec.template.spec
          local container = (pod.initContainers or pod.containers)[1]
          assert.equal('perigee', container.name)
          assert.same({ true, true, false }, { pod.securityContext.runAsNonRoot,
            container.securityContext.readOnlyRootFilesystem,
            container.securityContext.allowPrivilegeEscalation })
        end
      end
    end
    assert.equal('Always', fake:get('Deployment', 'shop', 'checkout').spec.template.spec
      .initContainers[1].restartPolicy)
    if not judge.can() then return pending('manifests: skipped, no ' .. judge.DESCRIPTION) end
    assert.same({}, (judge.problems(fake)))
  end)

  it('hold a configuration and rules without a mistake', function()
    for _, name in ipairs { 'deployment', 'sidecar' } do
      local folder, rules = support.folder(), {}
      assert(file.make_folder(folder .. '/rules'))
      assert(file.make_folder(folder .. '/tokens'))
      assert(file.write(folder .. '/tokens/ops', 'a-token-of-enough-letters'))
      local text
      for _, object in ipairs(manifest(name)) do
        for entry, content in pairs(object.kind == 'ConfigMap' and object.data or {}) do
          if entry == 'perigee.yaml' then
            text = content
          else
            rules[#rules + 1] = folder .. '/rules/' .. entry
            assert(file.write(rules[#rules], content))
          end
        end
      end
      local _, problems = config.parse(folder .. '/perigee.yaml', text)
      for _, p in ipairs(problems) do assert.matches('the environment has no', p.message) end
      local _, errors, warnings = load_rules.load(rules, { every = 30, limits = {} })
      for _, p in ipairs(errors) do assert.equal('', config.problem_text(p)) end
      for _, p in ipairs(warnings) do assert.equal('', config.problem_text(p)) end
      assert.is_true(#rules > 0)
    end
  end)
end)
