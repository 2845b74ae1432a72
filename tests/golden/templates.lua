-- Makes templates.json: what Prometheus itself makes of many annotation templates.
--
-- Usage: lua5.4 tests/golden/templates.lua >tests/golden/templates.json
--
-- Needs prometheus, promtool, curl and dkjson. Each case becomes an annotation of an alerting rule
-- whose expression yields the wanted value and labels. What promtool refuses to parse is recorded
-- with its message; the rest a Prometheus of its own, on 127.0.0.1, expands.
local json = require 'dkjson'

local PORT = os.getenv 'PORT' or '19390'
local URL = 'http://prom.example:9090/some/path'
local EXTERNAL_LABELS = { cluster = 'eu-1', empty = '' }
-- What Prometheus puts before each template; Go's columns on the first line count it.
local PREFIX = '{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}'
  .. '{{$externalURL := .ExternalURL}}{{$value := .Value}}'
local LABELS = {
  instance = 'web-1.example.com:9090', job = 'api', severity = 'page', zone = 'Łódź',
}
local THREE = 'label_replace(vector(2), "app", "b", "", "")'
  .. ' or label_replace(vector(1.5), "app", "c", "", "")'
  .. ' or label_replace(vector(3), "app", "a", "", "")'
local QUERIES = {
  THREE, 'vector(7)', 'vector(1) > 2', 'nonsense(', 'api',
  'label_replace(vector(1), "__value__", "v!", "", "")',
}

local cases = {}
local function case(template, value, labels)
  cases[#cases + 1] = { template = template, value = value or 1.5, labels = labels or LABELS }
end

assert(loadfile((arg[0]:gsub('%.lua$', '_cases.lua'))))(case, THREE)

local folder = os.tmpname()
os.remove(folder)
assert(os.execute('mkdir ' .. folder))

local function write(name, text)
  local path = folder .. '/' .. name
  local file <close> = assert(io.open(path, 'w'))
  file:write(text)
  return path
end

local function run(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read('a')
end

local function number(x)
  if x ~= x then return 'NaN' end
  if x == 1 / 0 then return 'Inf' end
  if x == -1 / 0 then return '-Inf' end
  return ('%.17g'):format(x)
end

local function promql_quote(s)
  return '"' .. s:gsub('[%c\\"]', function(c) return ('\\x%02x'):format(c:byte()) end) .. '"'
end

local function expression(c)
  local expr = ('vector(%s)'):format(number(c.value))
  for name, value in pairs(c.labels) do
    local escaped = value:gsub('%$', '$$')
    expr = ('label_replace(%s, %q, %s, "", "")'):format(expr, name, promql_quote(escaped))
  end
  return expr
end

-- Rules of at most 40 annotations, named c1, c2, …; JSON is YAML.
local function rules(wanted)
  local groups, by_key = {}, {}
  for i, c in ipairs(cases) do
    if wanted(c) then
      local key = number(c.value) .. json.encode(c.labels, { keyorder = { 'instance' } })
      local rule = by_key[key]
      if not rule or rule.n == 40 then
        rule = { alert = 'x', expr = expression(c), annotations = {}, labels = { g = tostring(i) } }
        rule.n = 0
        by_key[key] = rule
        groups[#groups + 1] = { name = 'g' .. i, interval = '1s', rules = { rule } }
      end
      rule.n = rule.n + 1
      rule.annotations['c' .. i] = c.template
    end
  end
  for _, group in ipairs(groups) do group.rules[1].n = nil end
  return json.encode { groups = groups }
end

-- Columns on the first line without the prefix.
local function moved(message)
  return (message:gsub('(__alert_x:1:)(%d+)', function(head, column)
    return head .. tonumber(column) - #PREFIX
  end))
end

local path = write('all.json', rules(function() return true end))
for line in run('promtool check rules ' .. path .. ' 2>&1'):gmatch('[^\n]+') do
  local i, message = line:match('annotation "c(%d+)": (.*)$')
  if i then cases[tonumber(i)].problem = message end
end

write('good.json', rules(function(c) return not c.problem end))
write('config.json', json.encode {
  global = { evaluation_interval = '1s', external_labels = EXTERNAL_LABELS },
  rule_files = { folder .. '/good.json' },
})
local pid = run(([[
  cd %s && exec prometheus --config.file=config.json --storage.tsdb.path=data --log.level=warn \
    --web.listen-address=127.0.0.1:%s --web.external-url=%s --web.route-prefix=/ \
    >log 2>&1 </dev/null & echo $!]]):format(folder, PORT, URL)):match('%d+')

local function get(what)
  return run(("curl -s --get 'http://127.0.0.1:%s%s'"):format(PORT, what))
end

local missing
for _ = 1, 120 do
  os.execute('sleep 1')
  local answer = json.decode(get('/api/v1/alerts'))
  for _, alert in ipairs(answer and answer.data.alerts or {}) do
    for name, text in pairs(alert.annotations) do
      local c = cases[tonumber(name:sub(2))]
      local message = text:match('^<error expanding template: (.*)>$')
      if message then c.failure = moved(message) else c.expansion = text end
    end
  end
  missing = 0
  for _, c in ipairs(cases) do
    if not (c.problem or c.failure or c.expansion) then missing = missing + 1 end
  end
  if missing == 0 then break end
end

local queries = {}
for _, expr in ipairs(QUERIES) do
  local query = ("' --data-urlencode 'query=%s"):format(expr)
  local answer = json.decode(get('/api/v1/query' .. query)) or {}
  if answer.status == 'success' then
    local rows = {}
    for i, row in ipairs(answer.data.result) do
      local labels = setmetatable(row.metric, { __jsontype = 'object' })
      rows[i] = { Labels = labels, Value = row.value[2] }
    end
    queries[expr] = { rows = setmetatable(rows, { __jsontype = 'array' }) }
  else
    queries[expr] = { message = answer.error:gsub('^invalid parameter "query": ', '') }
  end
end
os.execute('kill ' .. pid)
os.execute('sleep 1; rm -rf ' .. folder)
assert(missing == 0, 'Prometheus left some out')

local lines = {}
for i, c in ipairs(cases) do
  lines[i] = json.encode({
    template = c.template,
    value = number(c.value),
    labels = c.labels ~= LABELS and c.labels or nil,
    expansion = c.expansion, failure = c.failure, problem = c.problem,
  }, { keyorder = { 'template', 'value', 'labels', 'expansion', 'failure', 'problem' } })
end
table.sort(lines)
local function member(name, value, order)
  io.write(('"%s":'):format(name), json.encode(value, { keyorder = order }), ',\n')
end

io.write('{')
member('prometheus', run('prometheus --version 2>&1'):match('version (%S+)'))
member('external_url', URL)
member('external_labels', EXTERNAL_LABELS, { 'cluster', 'empty' })
member('labels', LABELS, { 'instance', 'job', 'severity', 'zone' })
member('queries', queries, { 'Labels', 'Value', table.unpack(QUERIES) })
io.write('"cases":[\n', table.concat(lines, ',\n'), '\n]}\n')
