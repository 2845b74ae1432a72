local clock = require 'perigee.clock'
local go_format = require 'perigee.go_format'
local json = require 'perigee.json'
local template = require 'template'

local LABELS = { instance = 'web-1:9090', job = 'api' }

local function expand(text, data)
  data = data or {}
  data.labels, data.value = data.labels or LABELS, data.value or 1.5
  local compiled, problem = template.compile(text, { name = 'T' })
  assert(compiled, problem and problem.message)
  return compiled:expand(data)
end

local function failure(text, data)
  local result, message = expand(text, data)
  assert.is_nil(result)
  return message
end

local function problem(text)
  local compiled, found = template.compile(text)
  assert.is_nil(compiled)
  return found
end

describe('template', function()
  it('expands as Prometheus does, word by word, in its failures too', function()
    local file <close> = assert(io.open('tests/golden/templates.json'))
    local golden = assert(json.decode(file:read('a')))

    local function query(expr)
      local answer = assert(golden.queries[expr], expr)
      if answer.message then return nil, answer.message end
      local rows = {}
      for i, row in ipairs(answer.rows) do
        rows[i] = { Labels = row.Labels, Value = go_format.parse_float(row.Value) }
      end
      return rows
    end

    local compared = 0
    for _, case in ipairs(golden.cases) do
      local wanted, got = case.expansion or case.failure
      local compiled, found = template.compile(case.template, { name = '__alert_x' })
      if compiled then
        local text, message = compiled:expand {
          labels = case.labels or golden.labels,
          value = go_format.parse_float(case.value),
          external_labels = golden.external_labels,
          external_url = golden.external_url,
          query = query,
        }
        got = text or message
        assert.equal(case.expansion ~= nil, text ~= nil, case.template)
      else
        wanted, got = case.problem:gsub('^template: __alert_x:%d+: ', ''), found.message
      end
      assert.equal(wanted, got, case.template)
      compared = compared + 1
    end
    assert.is_true(compared > 3000)
  end)

  it('tells where a template does not parse', function()
    local function check(text, message, line, column)
      assert.same({ message = message, line = line, column = column }, problem(text))
    end
    check('a\nbc {{ nope }}', 'function "nope" not defined', 2, 7)
    check('{{ $lables.job }}', 'undefined variable "$lables"', 1, 4)
    check('{{ if true }}', 'unexpected EOF', 1, 14)
    check('{{ 1\n', 'unclosed action started at template:1', 2, 1)
    check('é {{ humanize 1 | }}{{ "a" | 1 }}', 'non executable command in pipeline stage 2', 1, 31)
  end)

  it('tells where an expansion failed, columns from 0 as in Go', function()
    assert.equal('error executing template T: template: T:2:4: executing "T" at '
      .. '<humanize $labels.job>: error calling humanize: '
      .. 'strconv.ParseFloat: parsing "api": invalid syntax',
      failure 'a\n {{ humanize $labels.job }}')
  end)

  it('knows what later versions of Prometheus and Go brought', function()
    assert.equal('b', (expand '{{ with "" }}a{{ else with "b" }}{{ . }}{{ end }}'))
    assert.equal('012', (expand '{{ range 3 }}{{ . }}{{ end }}'))
    assert.equal('none', (expand '{{ range 0 }}x{{ else }}none{{ end }}'))
    assert.equal('0a1a', (expand '{{ range $i, $x := 2 }}{{ $i }}a{{ end }}'))
    assert.equal('a%3Db+c', (expand '{{ urlQueryEscape "a=b c" }}'))
    assert.equal('1h1m1.5s 1.5ms 0s -2s 20ns 3µs', (expand(
      '{{ toDuration 3661.5 }} {{ toDuration 0.0015 }} {{ toDuration 0 }} {{ toDuration -2 }} '
      .. '{{ toDuration 2e-8 }} {{ toDuration "0.000003" }}')))
    assert.equal('1700000000.25', (expand('{{ now | printf "%.2f" }}', { time = 1700000000.25 })))
    assert.equal('-90', (expand '{{ parseDuration "-1m30s" }}'))
  end)

  it('assigns in loops to the variables outside', function()
    assert.equal('arg0 api', (expand('{{ $k := 0 }}{{ $v := 0 }}'
      .. '{{ range $k, $v = args "api" }}{{ end }}{{ $k }} {{ $v }}')))
  end)

  it('asks the query function, and says what it said', function()
    local function query(expr)
      if expr == 'down' then return nil, 'no such host' end
      return { { Labels = { expr = expr }, Value = 2 } }
    end
    local data = { query = query }
    local text = '{{ with query "up" | first }}{{ .Labels.expr }}={{ .Value }}{{ end }}'
    assert.equal('up=2', (expand(text, data)))
    assert.matches('error calling query: no such host$', failure('{{ query "down" }}', data))
    assert.matches('error calling query: there is nothing to query$', failure '{{ query "up" }}')
  end)

  it('lets an error of the query function pass, as it is nobody else\'s', function()
    local data = { query = function() error('a bug', 0) end }
    local ok, message = pcall(expand, '{{ query "up" }}', data)
    assert.is_false(ok)
    assert.equal('a bug', message)
  end)

  it('may wait in a query', function()
    local data = { query = function() return coroutine.yield() end }
    local co = coroutine.wrap(function() return (expand('{{ query "up" | len }}', data)) end)
    co()
    assert.equal('2', co { { Labels = {}, Value = 1 }, { Labels = {}, Value = 2 } })
  end)

  it('takes labels that are no text at all', function()
    local labels = { bad = '\xff\xfe\0\xc3(\xed\xa0\x80' }
    for _, f in ipairs {
      'title', 'toUpper', 'toLower', 'html', 'js', 'urlquery', 'stripPort', 'stripDomain', 'print',
      'printf "%q %+q %x %10.3s %v"', 'reReplaceAll "." "x"', 'match "a"', 'safeHtml', 'len',
      'graphLink',
    } do
      assert.is_string((expand(('{{ $labels.bad | %s }}'):format(f), { labels = labels })), f)
    end
    assert.is_string(failure('{{ humanize $labels.bad }}', { labels = labels }))
    assert.is_string(failure('{{ match $labels.bad "a" }}', { labels = labels }))
    labels = { x = 'b\xff' }
    assert.equal('\u{FFFD}', (expand('{{ reReplaceAll "b" "" $labels.x }}', { labels = labels })))
  end)

  describe('has bounds', function()
    local function limit(text, data)
      local start = clock.cpu()
      local message = failure(text, data)
      assert.is_true(clock.cpu() - start < 3) -- with sanitizers and valgrind too
      return message:gsub('^error executing template T: template: T: ', '')
    end

    it('for steps', function()
      local nested = '{{ range 1000 }}{{ range 1000 }}{{ end }}{{ end }}'
      assert.equal('the template takes more than 100000 steps', (limit(nested)))
      assert.equal('the template takes more than 100000 steps', (limit(
        '{{ range 10000 }}{{ $x := reReplaceAll "(a|a)*b" "" "aaaaaaaaaaaaaaaaaaaaa" }}{{ end }}')))
      for _, slow in ipairs { 'title $s', 'toUpper $s', 'js $s', 'printf "%q" $s' } do
        local text = '{{ $s := reReplaceAll " " "ä" (printf "%%20000d" 1) }}{{ range 10 }}'
          .. '{{ $x := %s }}{{ end }}'
        assert.equal('the template takes more than 100000 steps', (limit(text:format(slow))), slow)
      end
    end)

    it('for texts, on the way and in the end', function()
      local long = 'the text becomes longer than 65536 bytes'
      assert.equal(long, (limit '{{ $x := "ab" }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}'))
      local function grown(step, n)
        return ('{{ $x := args }}{{ range %d }}{{ $x = %s }}{{ end }}{{ $x }}'):format(n, step)
      end
      assert.equal(long, (limit(grown('args $x $x', 40)))) -- 2^40 when printed
      assert.equal(long, (limit(grown('args $x', 9000))))
      assert.equal(long, (limit '{{ range 5 }}{{ printf "%20000d" . }}{{ end }}'))
      for _, format in ipairs {
        '"%999999d" 1', '"%.999999d" 1', '"%0999999d" 1', '"%.999999f" 1.0', '"%999999s" "a"',
        '"%.999999U" 1', '"%*d" 999999 1', '"%999999q" "a"', '"%#.999999x" 1.5',
        '"%-999999v|" $labels',
      } do
        assert.equal(long, (limit('{{ printf ' .. format .. ' }}')), format)
      end
    end)

    it('for templates in templates', function()
      assert.matches('exceeded maximum template depth %(500%)$', (limit(
        '{{ define "t" }}{{ template "t" }}{{ end }}{{ template "t" }}')))
    end)

    it('for regular expressions', function()
      assert.matches('takes too long on this text$', (limit(
        '{{ match "(.*)(.*)(.*)(.*)(.*)[^a]$" $labels.a }}', { labels = { a = ('a'):rep(200) } })))
    end)

    it('for what is nested, when compiling', function()
      local elses = '{{ if 1 }}' .. ('{{ else if 1 }}'):rep(1000)
      for _, text in ipairs { '{{ ' .. ('('):rep(1000), ('{{ if 1 }}'):rep(1000), elses } do
        assert.equal('max expression depth exceeded', problem(text).message)
      end
    end)

    it('for the length of a template', function()
      assert.equal('the template is longer than 65536 bytes', problem(('a'):rep(65537)).message)
      assert.equal(('a'):rep(65536), (expand(('a'):rep(65536))))
    end)
  end)

  it('keeps patterns, whatever their names', function()
    for _, pattern in ipairs { 'n', 'compiled', '__index' } do
      local compiled = assert(template.compile('{{ match $labels.p "n" }}'))
      local data = { labels = { p = pattern }, value = 1 }
      for _ = 1, 2 do assert.equal(tostring(pattern == 'n'), compiled:expand(data)) end
    end
  end)

  it('can be expanded again and again, and remembers nothing', function()
    local compiled = assert(template.compile '{{ $value }}{{ $value = "changed" }}')
    for i = 1, 3 do assert.equal(tostring(i), compiled:expand { labels = {}, value = i }) end
  end)
end)

describe('perigee.regex', function()
  local regex = require 'perigee.regex'

  it('compiles what Go compiles, and refuses in its words', function()
    local perl = 'invalid or unsupported Perl syntax: '
    for pattern, message in pairs {
      ['(?=a)'] = perl .. '`(?=`', ['(?<!a)'] = perl .. '`(?<`', ['(?>a)'] = perl .. '`(?>`',
      ['(?R)'] = perl .. '`(?R`', ['(?(1)a|b)'] = perl .. '`(?(`', ['(?#a)'] = perl .. '`(?#`',
      ['(a)\\1'] = 'invalid escape sequence: `\\1`', ['\\K'] = 'invalid escape sequence: `\\K`',
      ['a++'] = 'invalid nested repetition operator: `++`', ['a\xff'] = 'invalid UTF-8: `\xff`',
      ['(*FAIL)'] = 'missing argument to repetition operator: `*`',
    } do
      local re, said = regex.compile(pattern)
      assert.is_nil(re)
      assert.equal('error parsing regexp: ' .. message, said)
    end
  end)

  it('matches anywhere, or the whole', function()
    local re = assert(regex.compile 'web-\\d+|db')
    assert.is_true(re:match('a web-12 b'))
    assert.is_false(re:full_match('a web-12 b'))
    assert.is_true(re:full_match('web-12'))
    assert.is_false(re:full_match('web-12\n'))
    assert.is_true(assert(regex.compile 'a|ab'):full_match('ab')) -- going back, if it must
  end)

  it('replaces', function()
    local re = assert(regex.compile '(?P<host>[^:]+):(\\d+)')
    assert.equal('9090@web $ ${} 9090', re:replace_all('web:9090', '$2@${host} $$ ${} $host2$2'))
    assert.equal('-a-b-', assert(regex.compile 'x*'):replace_all('ab', '-'))
  end)

  it('gives up on what would take long', function()
    local re = assert(regex.compile '(a|a)*(a|a)*[^a]')
    local start = clock.cpu()
    local found, message = re:match(('a'):rep(300) .. 'b')
    assert.is_true(found or message == 'the regular expression takes too long on this text')
    found, message = assert(regex.compile '(.*)(.*)(.*)(.*)[^a]$'):match(('a'):rep(300))
    assert.is_nil(found)
    assert.equal('the regular expression takes too long on this text', message)
    assert.is_true(clock.cpu() - start < 2)
  end)

  it('is closed once and for all', function()
    local re = assert(regex.compile 'a')
    re:close()
    re:close()
    assert.has_error(function() re:match('a') end)
  end)
end)
