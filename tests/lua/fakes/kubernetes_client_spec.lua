-- The Kubernetes fake, held to its word by the official JavaScript client and to the published
-- description of the API by ajv.
local http = require 'http'
local json = require 'json'
local judge = require 'fakes.kubernetes_judge'
local kubernetes = require 'fakes.kubernetes'
local node = require 'fakes.node'

local STEPS = { 'version', 'lists', 'watches', 'informer', 'strategic', 'merge', 'json', 'apply',
  'dry_run', 'scale', 'eviction', 'leases', 'events', 'nodes', 'errors' }

--- Every stored version is as the description has it.
local function assert_valid(fake, kinds)
  if not judge.can() then return pending('skipped, there is no ' .. judge.DESCRIPTION) end
  local problems, counts = judge.problems(fake)
  assert.same({}, problems)
  for _, kind in ipairs(kinds) do assert.is_true((counts[kind] or 0) > 0, kind) end
end

describe('the Kubernetes fake', function()
  it('is a server to the official client, and stores what the API describes', function()
    local fake = kubernetes.start { bookmark_every = 0.2, tokens = { secret = true },
      objects = { kubernetes.deployment 'shop/checkout',
        kubernetes.budget('shop/checkout', { minAvailable = 2 }) } }
    local ok, out = pcall(node.run, { 'kubernetes_client.js', fake.url, 'secret' })
    fake:stop()
    assert.is_true(ok, out)
    assert.equal('ok ' .. table.concat(STEPS, '\nok ') .. '\n', out)
    assert_valid(fake, { 'Deployment', 'ReplicaSet', 'Pod', 'PodDisruptionBudget', 'Lease',
      'Event', 'Node', 'Namespace' })
  end)

  it('stores what the API describes after patches of every kind, whatever they hold', function()
    local fake = kubernetes.start { objects = { kubernetes.deployment 'shop/web',
      kubernetes.statefulset 'shop/web', kubernetes.daemonset 'shop/web' } }
    local values = { '"a"', '7', '2.5', 'null', '{}', '[]', '{"a":"b"}',
      '[{"name":"web","image":"web:2"}]' }
    local paths = { 'replicas', 'paused', 'template', 'selector', 'strategy', 'minReadySeconds',
      'template/spec/containers', 'template/metadata/labels', 'template/spec/volumes',
      'template/spec/containers/0/env', 'nothing' }
    local function send(plural, type_, body)
      local r = assert(http.request { method = 'PATCH', body = body,
        url = ('%s/apis/apps/v1/namespaces/shop/%s/web?fieldManager=judge&force=true'):format(
          fake.url, plural),
        headers = { ['Content-Type'] = type_ } })
      assert.is_true(r.status < 500, r.body)
      return r.status
    end
    local stored = 0
    for i, path in ipairs(paths) do
      for _, value in ipairs(values) do
        local plural = ({ 'deployments', 'statefulsets', 'daemonsets' })[i % 3 + 1]
        local nested, depth = '', 0
        for step in path:gsub('/0/.*', ''):gmatch '[^/]+' do
          nested, depth = nested .. ('{"%s":'):format(step), depth + 1
        end
        nested = ('{"spec":%s%s%s}'):format(nested, value, ('}'):rep(depth))
        for _, status in ipairs { send(plural, 'application/merge-patch+json', nested),
          send(plural, 'application/strategic-merge-patch+json', nested),
          send(plural, 'application/apply-patch+yaml', nested),
          send(plural, 'application/json-patch+json',
            ('[{"op":"add","path":"/spec/%s","value":%s}]'):format(path, value)) } do
          if status == 200 then stored = stored + 1 end
        end
      end
    end
    fake:stop()
    assert.is_true(stored > 30, stored)
    assert_valid(fake, { 'Deployment', 'StatefulSet', 'ControllerRevision' })
    assert.is_string(json.encode(fake:list 'DaemonSet'))
  end)
end)
