local diff = require 'actions.kubernetes.diff'

local function deployment(o)
  o = o or {}
  return { kind = 'Deployment', metadata = { name = 'checkout', resourceVersion = o.version or '1',
      generation = o.generation or 1, managedFields = { { manager = 'x' } },
      annotations = o.annotations },
    status = { replicas = o.replicas or 1 },
    spec = { replicas = o.replicas or 3, template = { spec = { containers = {
      { name = 'app', image = o.image or 'shop:2', env = o.env } } } } } }
end

describe('a diff', function()
  it('has a line for each field that differs, and none for what every write changes', function()
    assert.equal('', diff.text(deployment(), deployment { version = '2', generation = 2 }))
    assert.equal('  spec.replicas: 3 → 5\n'
      .. '  spec.template.spec.containers[app].image: "shop:2" → "shop:1"',
      diff.text(deployment(), deployment { image = 'shop:1', replicas = 5 }))
  end)

  it('tells what comes and what goes', function()
    assert.equal('+ spec.template.spec.containers[app].env[B].value: "2"\n'
      .. '+ spec.template.spec.containers[app].env[B].name: "B"\n'
      .. '- spec.template.spec.containers[app].env[A].value: "1"', (diff.text(
        deployment { env = { { name = 'A', value = '1' } } },
        deployment { env = { { name = 'A' }, { name = 'B', value = '2' } } })
        :gsub('^(.-)\n(.-)\n(.-)$', '%3\n%2\n%1')))
  end)

  it('does not show what by its name is a secret', function()
    local text = diff.text(deployment { env = { { name = 'DB_PASSWORD', value = 'old-sesame' } } },
      deployment { env = { { name = 'DB_PASSWORD', value = 'new-sesame' } } })
    assert.equal('  spec.template.spec.containers[app].env[DB_PASSWORD].value: (hidden) → (hidden)',
      text)
    assert.equal('  data.api_key: (hidden) → (hidden)', diff.text(
      { kind = 'ConfigMap', data = { api_key = 'a' } },
      { kind = 'ConfigMap', data = { api_key = 'b' } }))
    assert.equal('+ metadata.annotations[example.com/token]: (hidden)', diff.text(deployment(),
      deployment { annotations = { ['example.com/token'] = 'sesame' } }))
  end)

  it('leaves out the copy of the whole object that kubectl keeps in it', function()
    assert.equal('', diff.text(deployment(), deployment { annotations = {
      ['kubectl.kubernetes.io/last-applied-configuration'] = '{}' } }))
  end)

  it('is short whatever it is about, on whole characters', function()
    local was, is = deployment(), deployment()
    for i = 1, 500 do is.spec['field' .. i] = ('ä'):rep(400) .. '\n' end
    local text = diff.text(was, is)
    assert.is_true(#text <= 4096)
    assert.truthy(utf8.len(text))
    assert.matches('… and %d+ more$', text)
    assert.is_nil(text:find '\\n')
  end)
end)
