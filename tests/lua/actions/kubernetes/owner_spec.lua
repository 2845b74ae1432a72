local owner = require 'actions.kubernetes.owner'

local REPLICAS = { 'spec', 'replicas' }

local function object(metadata) return { metadata = metadata } end

local function wrote(manager, operation, fields)
  return { manager = manager, operation = operation, fieldsV1 = fields }
end

local HAS_REPLICAS = { ['f:spec'] = { ['f:replicas'] = {} } }
local HAS_TEMPLATE = { ['f:spec'] = { ['f:template'] = { ['f:spec'] = { ['f:containers'] = {
  ['k:{"name":"app"}'] = { ['.'] = {}, ['f:image'] = {} } } } } } }

describe('the owner of a field', function()
  it('is nobody where nobody declares it', function()
    for _, metadata in ipairs { {}, { managedFields = {} },
      { managedFields = { wrote('kubectl-create', 'Update', HAS_REPLICAS) } },
      { managedFields = { wrote('node-fetch', 'Update', HAS_REPLICAS) } },
      { managedFields = { wrote('perigee', 'Apply', HAS_REPLICAS) } },
      { managedFields = { wrote('team', 'Apply', HAS_TEMPLATE) } },
      { managedFields = { wrote('team', 'Apply') } },
      { labels = { ['app.kubernetes.io/managed-by'] = 'hand' } } } do
      assert.same({}, { owner.of(object(metadata), REPLICAS) })
    end
  end)

  it('is who applies it, or writes it again and again', function()
    for manager, operation in pairs { team = 'Apply', ['argocd-controller'] = 'Update',
      ['kustomize-controller'] = 'Apply', ['keda-operator'] = 'Update' } do
      assert.equal(manager .. ' owns spec.replicas', (owner.of(object {
        managedFields = { wrote('kubectl', 'Update', HAS_REPLICAS),
          wrote(manager, operation, HAS_REPLICAS) } }, REPLICAS)))
    end
  end)

  it('is who owns anything below it, and who owns it as one', function()
    assert.equal('team owns spec.template', (owner.of(object {
      managedFields = { wrote('team', 'Apply', HAS_TEMPLATE) } }, { 'spec', 'template' })))
    assert.equal('team owns spec.template.spec', (owner.of(object {
      managedFields = { wrote('team', 'Apply', { ['f:spec'] = { ['f:template'] = {} } }) } },
      { 'spec', 'template', 'spec' })))
    assert.equal('team owns spec.template.spec.containers.0.image', (owner.of(object {
      managedFields = { wrote('team', 'Apply', HAS_TEMPLATE) } },
      { 'spec', 'template', 'spec', 'containers', '0', 'image' })))
  end)

  it('is what controls the object, as an operator does', function()
    assert.equal('Kafka orders controls this object', (owner.of(object { ownerReferences = {
      { kind = 'Kafka', name = 'orders', controller = true } } }, REPLICAS)))
    assert.is_nil((owner.of(object { ownerReferences = { { kind = 'Kafka', name = 'orders' } } },
      REPLICAS)))
  end)

  it('is the tool whose marks the object bears', function()
    for _, case in ipairs {
      { 'Argo CD', { annotations = { ['argocd.argoproj.io/tracking-id'] = 'shop:apps' } } },
      { 'Argo CD', { labels = { ['argocd.argoproj.io/instance'] = 'shop' } } },
      { 'Flux', { labels = { ['kustomize.toolkit.fluxcd.io/name'] = 'shop' } } },
      { 'Flux', { labels = { ['helm.toolkit.fluxcd.io/name'] = 'shop' } } },
      { 'Helm', { labels = { ['app.kubernetes.io/managed-by'] = 'Helm' } } },
      { 'Helm', { annotations = { ['meta.helm.sh/release-name'] = 'shop' } } },
    } do
      assert.equal(case[1] .. ' sees to this object, spec.replicas included: it would undo this',
        (owner.of(object(case[2]), REPLICAS)))
    end
  end)

  it('is not the tool that is known to leave this very field alone', function()
    local by, warning = owner.of(object { labels = { ['argocd.argoproj.io/instance'] = 'shop' },
      managedFields = { wrote('argocd-controller', 'Update', HAS_TEMPLATE) } }, REPLICAS)
    assert.is_nil(by)
    assert.equal('Argo CD sees to this object, and leaves spec.replicas alone', warning)
    assert.equal('argocd-controller owns spec.template (the object is Argo CD\'s, which would undo '
      .. 'this)', (owner.of(object { labels = { ['argocd.argoproj.io/instance'] = 'shop' },
        managedFields = { wrote('argocd-controller', 'Update', HAS_TEMPLATE) } },
        { 'spec', 'template' })))
  end)
end)
