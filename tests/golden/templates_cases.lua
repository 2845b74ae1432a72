-- The cases of templates.lua: called with case(template, value?, labels?), which records one, and a
-- query that has three results.
local case, three = ...

-- Go's quoting of a text in a template.
local function q(s)
  if not s:find('[`\r]') then return '`' .. s .. '`' end
  return '"' .. s:gsub('[\\"%c]', function(c)
    return c:find('%c') and ('\\x%02x'):format(c:byte()) or '\\' .. c
  end) .. '"'
end

-- The template with the operand for every @.
local function all(template, operand) return (template:gsub('@', (operand:gsub('%%', '%%%%')))) end

-- The format and n times the operand.
local function arguments(format, operand, n)
  return ('"%s"%s'):format(format, (' ' .. operand):rep(n))
end

local function printf(...) return '{{ printf ' .. arguments(...) .. ' }}' end

-- Numbers of every size, through all that prints them.
local NUMBERS = {
  0, -0.0, 1, -1, 0.5, 1.5, -2.5, 1 / 3, 2 / 3, 100, 999, 999.9, 999.95, 1000, 1001, 1023, 1024,
  1025, 12345,
  99999, 100000, 123456, 999999, 999999.5, 1e6, 1234567, 1048576, 1.5e9, 1e9, 1e15, 1e20,
  123456789012345680000,
  1e21, 1e22, 1e27, 1e30, 1e100, 1.7976931348623157e308, 0.1, 0.01, 0.001, 0.0001, 0.00012345,
  0.00001, 1e-7,
  1.5e-9, 1e-15, 1e-24, 1e-27, 1e-30, 1e-100, 5e-324, 2.2250738585072014e-308, -12345.678,
  -0.001234, 59, 60,
  61, 90.5, 3599, 3600, 3661, 86399, 86400, 90061, 93784.9, 1e7, 1700000000, 1700000000.123,
  1700000000.5,
  -86400.25, 0.0625, 1 / 0, -1 / 0, 0 / 0, 4294967296, 9007199254740993, 9.2e9, 9.3e9, 2e18, 1e19,
  -1e19,
}
local PRINTERS = {
  '{{ $value }}|{{ humanize $value }}|{{ humanize1024 $value }}|{{ humanizeDuration $value }}|'
    .. '{{ humanizePercentage $value }}',
  '{{ humanizeTimestamp $value }}',
  '{{ toTime $value }}',
  printf('%v %.3f %.0f %8.2f %-10.1f| %+.2f %010.3f', '$value', 7),
  printf('%e %.2e %E %g %G %.4g %.1g %.10g %#g %#.3g %# g', '$value', 11),
  printf('%x %X %.3x %b %+v %#v %5v %05v %-5v| % v', '$value', 10),
  '{{ print $value 1 $value }}{{ if $value }}true{{ end }}{{ if gt $value 1.0 }} gt{{ end }}'
    .. '{{ if le $value 1.0 }} le{{ end }}',
}
for _, n in ipairs(NUMBERS) do
  for _, t in ipairs(PRINTERS) do case(t, n) end
end

-- The same from texts.
for _, s in ipairs {
  '1', '1.5', '-3', '1e3', '0x10', '0x1p4', 'inf', '-Inf', '+Infinity', 'nan', 'NaN', '', 'abc',
  '1_000', '_1', '1__0',
  '1e999', '-1e999', '1e-999', ' 1', '1 ', '1,5', '٣', '.5', '5.', '.', '+', '1e', '0x', '0x1',
  'infin', '0b1', '1.2.3',
} do
  for _, f in ipairs {
    'humanize', 'humanize1024', 'humanizeDuration', 'humanizePercentage', 'humanizeTimestamp',
    'toTime',
  } do
    case(('{{ %s %s }}'):format(f, q(s)))
  end
end
for _, v in ipairs {
  '1', 'true', '.', '$labels', 'nil', '(index "a" 0)', '(safeHtml "1")', '1i', "'a'",
  '(query "vector(7)")',
} do
  case(('{{ humanize %s }}'):format(v))
end

for _, s in ipairs {
  '0', '1s', '1m', '1h30m', '1d', '1w', '2y', '1y2w3d4h5m6s7ms', '500ms', '1m30s', '', '1', '1x',
  '30m1h', '1h1h',
  '1.5h', ' 1s', '1s ', '01h', '106751991167d', '292y', '300y', '99999999999999999999s', '1ms1s',
  's', '0s', '00',
} do
  case(('{{ parseDuration %s }}'):format(q(s)))
end

for _, s in ipairs {
  'a:1', 'a', 'a.b.c:80', 'a.b.c', '1.2.3.4:80', '1.2.3.4', '[::1]:80', '::1', '[::1]',
  '[fe80::1%eth0]:9', 'a:b:c', '', ':', ':80',
  'a:', '.b', 'a.b:', '[a]:1', '[a.b]:1', '[a', 'a]:1', 'a[b:1', '[a:b.c]:1', '01.2.3.4:1',
  '1.2.3.4.5', '256.1.1.1', '1::2:3.4.5.6',
  '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '::', '1::2::3', '12345::', ':::', '::ffff:1.2.3.4',
  '[1:2::3]:99', 'g::1', 'http://a.b:1',
  '1:2:3:4:5:6:7::', '::1.2.3', '1.2.3.4:', '[a]b:1', '[]:1', '::1:', ':1', '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:1.2.3.4',
} do
  case(all('{{ stripPort @ }}|{{ stripDomain @ }}', q(s)))
end

for _, s in ipairs {
  'hello world', "it's o'clock", 'foo-bar foo_bar foo.bar', 'ÉCOLE été Łódź', 'straße ß ẞ',
  'ǆ ǅ Ǆ ǉ ǳ', 'ა Ა', 'ΑΣ ας σ', 'ı İ i I', 'ſ K Å ω',
  'µ µ', '日本 go', '1st 2ND', '\u{a0}x\u{2003}y\u{3000}z\u{200b}w', 'ꙋ ꭰ Ꭰ ᲀ',
  '𐐨 𐐀 𞤢', 'a\tb\nc', '', '…quoted “x”', 'ÿ Ÿ ŉ ǰ',
} do
  case(all('{{ title @ }}|{{ toUpper @ }}|{{ toLower @ }}', q(s)))
  case(all('{{ html @ }}|{{ js @ }}|{{ urlquery @ }}|{{ graphLink @ }}|{{ tableLink @ }}', q(s)))
  case(printf('%q %+q %#q %x %X %# x %10s| %-10s| %.3s %.3q %5.1s', q(s), 11))
end
for _, s in ipairs {
  '<a href="x">&\'y\'</a>', 'a=b&c=d?e#f+g h/i:j@k', '\\ \1\31\127', '`raw`',
  '\u{feff}\u{ad}\u{e000}\u{10ffff}', '~._-*!()', '\xc2\x80',
} do
  case(all('{{ html @ }}|{{ js @ }}|{{ urlquery @ }}|{{ @ | safeHtml }}', q(s)))
  case(printf('%q %+q %#q', q(s), 3))
end

-- Printf.
for _, t in ipairs {
  '"%d %s" 1 "a"', '"%d" "a"', '"%s" 1', '"%d %d" 1', '"%d" 1 2', '"%d" 1 2 "x" nil 2.5 $labels',
  '"%!" 1', '"%"', '"100%%"', '"%z" 1',
  arguments('%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%#o|%O|%b|%#b', '42', 13),
  arguments('%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%#o|%O|%b|%#b', '-42', 13),
  '"%.0d|%.0d|%5.3d|%-6.4d|%+.3d|%08.3d|%.5x" 0 1 7 7 7 7 255',
  '"%c %q %U %#U %#q %+q" 65 65 65 65 9786 9786',
  '"%c %q %U %#U" 0x1F600 0x1F600 0x1F600 0x1F600', '"%c %q %U" -1 -1 -1',
  '"%c %q %U %#U" 0x110000 7 0xd800 10',
  '"%t %v %5t %-7t|" true false true false', '"%d" true', '"%t" 1',
  '"%T %T %T %T %T %T" 1 1.5 "a" true nil $labels',
  '"%T %T %T %T" . (query "vector(7)") (first (query "vector(7)")) (args 1)',
  '"%T %T %T" (index "abc" 1) 1i (safeHtml "x")',
  '"%v %+v %#v" $labels $labels $labels', '"%v|%+v|%#v" . . .',
  '"%s|%d|%q|%x" $labels $labels $labels $labels',
  '"%v %d %s %q" (args 1 "b" 2.5 true nil) (args 1) (args "a") (args "a")',
  '"%x %t" (args "a") (args true)',
  '"%#v %+v" (args 1 "b" 2.5 true nil) (args 1 "b")',
  arguments('%v %+v %#v', '(first (query "vector(7)"))', 3),
  '"%d %s" (first (query "vector(7)")) (first (query "vector(7)"))', '"%v %d %q" nil nil nil',
  '"%s" nil', '"%5v|%-5v|" nil nil',
  '"%[2]d %[1]d" 1 2', '"%[3]d" 1 2', '"%[x]d" 1', '"%[1]d %d" 1 2', '"%[2]*[1]d" 7 5',
  '"%*d|%-*d|" 5 1 5 1', '"%*d" "a" 1', '"%.*f" 2 3.14159',
  '"%.*f" -1 3.14159', '"%*d|" -5 1', '"%.*d" "x" 1', '"%[1]" 1', '"%[" 1', '"%[1]2d" 1',
  '"%[2].3f" 1 2.5', '"%[]d" 1', '"%[0]d" 1', '"%[1]v %[1]T" 1.5',
  '"%10.3s|%-10.3s|%010s" "abcdef" "abcdef" "abc"',
  '"%x %X % x %#x %# x %.2x %8x|%-8x|" "hello" "hello" "hello" "hello" "hello" "hello" "hi" "hi"',
  '"%x" ""', '"%5x|" ""', '"%q" ""',
  '"%6.2f|%-8.3f|%+.1f|% .2f|%08.2f|%+08.2f" 3.14159 3.14159 3.14159 3.14159 -3.14159 3.14159',
  '"%6d%%" 50', '"%s" (safeHtml "<b>")', '"%d" (safeHtml "<b>")',
  arguments('%v %d %c %q %#v %x', '(index "abc" 1)', 6),
  '"%v %.1f %s %e %g" 1i 1+2i 1i 2i -1.5-2i', '"%f %F %s" 1.0 1.0 1.0', '"%d" 1.0', '"%f" 1',
  '"%é" 1', '"%-05d|%0-5d|" 3 3', '"%+5s|% d|%+q" "a" 5 "é"',
  '"%s %s" (toTime 1.5) "x"', '"%v|%q|%x" (toTime 0) (toTime 0) (toTime 0)', '"%T" (toTime 0)',
  '"%s"', '', '1', '"a" | printf "%s-%s" "b"', '"%w" 1', '"%v" | print',
  '"%t" (not true)', '"%U" "x"', '"%c" "x"', '"%e" 5', '"%08b|%o|%#X" 5 8 255',
  '"%20.10d|%-20.10d|%+20d" 5 5 5', '"%+v % v" 5 5', '"%#v %#v %#v" "a" 5 true',
  '"%3c|%-3c|%03c" 65 65 65', '"%6q|%-6q|%06q" "a" "a" "a"', '"%6U|%-8U|%.6U" 65 65 65',
  '"%99999999999d" 1', '"%.99999999999d" 1', '"%0.0f %.0f %.0f" 0.5 1.5 2.5', '"%p" 1', '"%p" "a"',
} do
  case('{{ printf ' .. t .. ' }}')
end
for _, t in ipairs {
  'print', 'print 1', 'print 1 2', 'print "a" "b"', 'print 1 "a" 2 3', 'print nil',
  'print nil nil', 'print true false', 'print 1.0 2.5', 'print $labels 1', 'print (args 1) "x"',
  'println', 'println 1 "a" nil', 'print (first (query "vector(7)"))', 'print (safeHtml "x") 1',
  'print 1i 2', 'html', 'html 1 2', 'html nil', 'html "a" nil', 'js nil 1', 'urlquery 1 2',
  'html (first (query "vector(7)"))', 'html $labels', 'js $labels', 'print (index "a" 0)',
} do
  case('{{ ' .. t .. ' }}')
end

-- Values, fields, what is missing.
for _, t in ipairs {
  '$labels.instance', '.Labels.instance', '$.Labels.job', '$labels.nope', '.Labels.nope', '.Nope',
  '$labels.instance.x', '.Labels.instance.x', '.Value.x', '$value.x', '$value', '.Value', '.',
  '$externalLabels.cluster', '.ExternalLabels.cluster', '$externalLabels.nope', '$externalURL',
  '.ExternalURL', 'externalURL', 'pathPrefix', '$labels', '$externalLabels', '.Labels', '$',
  '"text"', '`raw`', '"q\\"q\\n\\t\\x41\\u00e9\\101"', '1', '-1', '+1', '0x1F', '0X1f', '0b101',
  '0o17', '017', '08', '1_000', '0x_1F', '1__0', '1.5', '.5', '5.', '1e3', '1E-3', '0x1p4', "'a'",
  "'\\n'", "'é'", "'\\''", "'\\x41'", "'ab'", "''", '1i', '1+2i', '2.5i', '0i', '1e400', '1e3i',
  '9223372036854775807', '9223372036854775808', '18446744073709551615', '18446744073709551616',
  '-9223372036854775808', '-9223372036854775809', '1e18', 'true', 'false', 'nil', '"\\q"',
  '"\\400"', '"\\ud800"', '"a', "'a", '`a', '+', '-', '1x', '0xg', '1e', '0b2', '--1', '1-2',
  '1+2', '- 1',
  '(1)', '((1))', '(1', '1)', '()', '( )', '(print 1)', '(print "a" | print)', '("a").x',
  '(.).Value', '(.Labels).job', '(index . "x")', '$labels.job | print', '$labels | len', '. | len',
  '1 | 2', '1 | print | "x"', '"a" | .Value', '"a" | $value', '.Value 1', '$value 1',
  '$labels.job 1', '"a" "b"', '1 2', 'true 1', '(1) 2', '1 | (print)', '$labels "a"',
  '.Labels "a"',
  '$x', '$x := 1', '$x = 1', '$value = 2', '$labels := 1', '$x := ', '$x :', '$x, $y := 1', 'foo',
  'foo 1', 'print | foo', '.foo bar', 'print bar', '$labels.job bar', '..', '. .', '.x.', '.1',
  '$.', '$ .', '$labels.', '$labels. job', '|', '| print', 'print |', 'print | | print',
  'print , 1', 'print; 1', '@', '#', '\\', 'a b', 'é', '.é', '$é', '$é := 1', '日本',
  'print "a" \t "b"', 'print\n"a"\n"b"', '\nprint\n', 'print(1)', 'print (1)(2)', 'print "a""b"',
  '"a"|print', 'print"a"', '$x:=1', '$value|print', 'if', 'end', 'else', 'template', 'template 1',
  'template "x"', 'define "x"', 'block "x"', 'block', 'with', 'range', 'break', 'continue',
  'break 1', 'if true', 'range 1', 'with 1',
  'template "nope" .', 'nil | print', 'print nil.x', 'nil.x', '"a".x', '1.x', 'true.x', '..x',
  'len .x.y', '\127', '\1', '\u{e9}\u{301}', '=', '= 1', ':=', ': =', '1 := 2', '.x := 1',
  '$x.y := 1', 'call', 'call 1', 'call nil', 'call print 1', 'call .Value', 'and', 'or', 'not',
  'len', 'eq', 'eq 1', 'ne 1', 'lt 1', 'index', 'slice', 'not 1 2', 'len 1 2', 'humanize',
  'humanize 1 2', 'first', 'query', 'query 1', 'query .Value', 'query $labels.job',
  'query "vector(7)" 1', 'value', 'value 1', 'value nil', 'value .', 'value $labels', 'label "a"',
  'label "a" nil', 'label 1 nil', 'first nil', 'first 1', 'first $labels', 'first .',
  'sortByLabel "a" nil', 'sortByLabel "a" 1', 'strvalue nil', 'title', 'title 1', 'title nil',
  'title .', 'title $value', 'toUpper 1.5', 'match "a"', 'match "a" 1', 'match 1 "a"',
  'reReplaceAll "a" "b"', 'safeHtml 1', 'safeHtml (safeHtml "x")', 'title (safeHtml "x")',
  'externalURL 1', 'pathPrefix 1', 'args', 'args 1 2 3', 'args nil', 'parseDuration 1',
  'stripPort 1', 'stripPort nil', 'title (args).x', 'humanize (args).x', 'print (args).x',
  'len (args).x', 'eq (args).x nil', 'print (args nil).arg0', '(args 1 "b").arg1',
  '(args 1).arg0.x', '(args .).arg0.Value', '(args $labels).arg0.job',
} do
  case('a{{ ' .. t .. ' }}z')
end

-- Lists.
for _, t in ipairs {
  'query "vector(7)" | first | value', 'query "vector(1) > 2" | first', 'query "nonsense("',
  'query "vector(1) > 2"', 'query "vector(1) > 2" | len', 'QQ | len', 'QQ | first',
  'QQ | first | label "app"', 'QQ | first | label "nope"', '(QQ | first).Value',
  '(QQ | first).Labels.app', '(QQ | first).Nope', '(QQ | first).Labels.nope',
  'range QQ }}{{ .Labels.app }}={{ .Value }};{{ end',
  'range QQ | sortByLabel "app" }}{{ .Labels.app }}={{ .Value }};{{ end',
  'range $i, $s := QQ | sortByLabel "nope" }}{{ $i }}{{ $s.Labels.app }}{{ end',
  'range sortByLabel "app" QQ }}{{ . | value | humanize }} {{ label "app" . }} {{ end',
  'index QQ 1', '(index QQ 1).Value', 'index QQ 3', 'index QQ 4', 'index QQ -1', 'index QQ "a"',
  'index QQ 1.5', 'index QQ nil', '(index (slice QQ 1) 0).Value', 'len (slice QQ 1 2)',
  'len (slice QQ 0 1 2)', 'slice QQ 2 1', 'slice QQ 9',
  '$q := QQ }}{{ $s := sortByLabel "app" $q }}{{ index $q 0 }}{{ index $s 0',
  'with QQ }}{{ len . }}{{ else }}none{{ end',
  'with query "vector(1) > 2" }}x{{ else }}none {{ . }}{{ end',
  'range query "vector(1) > 2" }}x{{ else }}none{{ end',
  'if query "vector(1) > 2" }}x{{ else }}none{{ end', 'range QQ }}{{ . }}{{ end',
  'range QQ }}{{ if eq .Labels.app "c" }}{{ continue }}{{ end }}{{ .Labels.app }}{{ end',
  'range QQ }}{{ if eq .Labels.app "c" }}{{ break }}{{ end }}{{ .Labels.app }}{{ end',
  'query `label_replace(vector(1), "__value__", "v!", "", "")` | first | strvalue',
  'QQ | first | strvalue', 'first QQ | value | printf "%.1f"', 'eq (first QQ) (first QQ)',
  '$f := first QQ }}{{ eq $f $f', 'lt (first QQ) 1', 'eq QQ QQ', 'eq $labels $labels', 'eq . .',
  'eq QQ $labels', 'eq QQ nil', 'eq $labels nil', 'eq (first QQ) nil', 'len (first QQ)',
  'index (first QQ) 1', 'slice (first QQ) 1', 'range (first QQ) }}x{{ end',
  'if first QQ }}y{{ end', 'humanize QQ', 'label "app" QQ', 'value QQ',
  'sortByLabel "app" (first QQ)', 'QQ | sortByLabel', 'QQ | sortByLabel 1',
  '(first QQ) | print | len | gt 1000', 'range $q := QQ }}{{ $q.Value }}{{ end',
} do
  case('{{ ' .. t:gsub('QQ', '(query `' .. three:gsub('%%', '%%%%') .. '`)') .. ' }}')
end

-- Control flow, scopes, trimming, definitions.
for _, t in ipairs {
  'plain', '', ' ', '{', '{ {', '}}', '{{', '{{}}', '{{ }}', '{{- }}', '{{ -}}', '{{--}}',
  '{{- -}}', 'a {{- 1 -}} b', 'a\n {{- 1 -}} \n b', 'a {{-1}} b', 'a {{1 -}} b', 'a {{- 1}} b',
  'a {{1 - }} b', 'a {{"x"-}} b', 'a {{- "x" -}} {{- "y" -}} b', 'a {{-\n1\n-}} b',
  'a{{/* c */}}b', 'a {{- /* c */ -}} b', 'a{{ /* c */}}b', 'a{{/* c */ }}b', 'a{{/* c',
  'a{{/* c }}', 'a{{/* }} */}}b', 'a{{- /* c */}}b', '{{/**/}}', '{{1}}{{2}}', '{{{1}}}', '{{1}',
  '{{ "}}" }}', '{{ "a\nb" }}', '{{ `a\nb` }}', '{{ `}}` }}', '{{\n1\n}}', '{{ 1', 'a\nb\n{{ 1',
  '{{ "a', 'x\n{{ print\n"a }}', '{{ (1 }}', '{{ ((1) }}', '{{ 1\n\n', '{{print\n(1\n}}',
  '{{ if true }}a{{ end }}', '{{ if false }}a{{ else }}b{{ end }}',
  '{{ if false }}a{{ else if true }}b{{ end }}',
  '{{ if false }}a{{ else if false }}b{{ else }}c{{ end }}',
  '{{ if "" }}a{{ else if 0 }}b{{ else if 0.0 }}c{{ else if $labels.nope }}d{{ else }}e{{ end }}',
  '{{ if $labels }}a{{ end }}{{ if $externalLabels }}b{{ end }}{{ if . }}c{{ end }}',
  '{{ if args }}d{{ end }}{{ if 1i }}e{{ end }}{{ if 0i }}f{{ end }}',
  '{{ if nil }}{{ end }}', '{{ if true }}{{ else }}{{ else }}{{ end }}', '{{ if true }}',
  '{{ end }}', '{{ else }}', '{{ if true }}{{ end }}{{ end }}', '{{ if }}{{ end }}',
  '{{ if true false }}a{{ end }}', '{{ if (true) }}a{{ end }}',
  '{{ if true }}{{ else if }}{{ end }}', '{{ if true }}{{ else 1 }}{{ end }}',
  '{{ if true }}{{ end 1 }}', '{{if true}}a{{else}}b{{end}}', '{{iftrue}}{{end}}',
  '{{ with 1 }}{{ . }}{{ end }}', '{{ with "" }}a{{ else }}{{ .Value }}{{ end }}',
  '{{ with $x := 5 }}{{ $x }}{{ . }}{{ end }}', '{{ with $labels }}{{ .job }}{{ end }}',
  '{{ with $x := 0 }}{{ else }}{{ $x }}{{ end }}',
  '{{ with .Labels.job }}{{ . }}{{ $.Value }}{{ end }}', '{{ with $x := 1 }}{{ end }}{{ $x }}',
  '{{ with $value }}{{ with $labels }}{{ .job }}{{ end }}{{ . }}{{ end }}',
  '{{ with (args).x }}a{{ else }}b{{ end }}', '{{ with 1 }}a{{ else if 1 }}b{{ end }}',
  '{{ range $labels }}{{ . }},{{ end }}',
  '{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}',
  '{{ range $v := $labels }}{{ $v }},{{ end }}', '{{ range args 1 "a" 2.5 nil }}{{ . }},{{ end }}',
  '{{ range $k, $v := args 1 "a" }}{{ $k }}{{ $v }}{{ end }}', '{{ range "abc" }}{{ . }}{{ end }}',
  '{{ range 1.5 }}x{{ end }}', '{{ range true }}x{{ end }}', '{{ range . }}x{{ end }}',
  '{{ range (args).x }}x{{ else }}none{{ end }}', '{{ range nil }}{{ end }}',
  '{{ range $a, $b, $c := $labels }}{{ end }}', '{{ range $a, 1 }}{{ end }}',
  '{{ range $a, $b $labels }}{{ end }}', '{{ range $i, $x := $labels }}{{ break }}{{ end }}',
  '{{ range $labels }}{{ if eq . "api" }}{{ continue }}{{ end }}{{ . }} {{ end }}', '{{ break }}',
  '{{ range $labels }}{{ break 1 }}{{ end }}',
  '{{ range $labels }}{{ define "x" }}{{ end }}{{ end }}',
  '{{ range $labels }}{{ range args 1 2 }}{{ break }}{{ end }}{{ . }}{{ end }}',
  '{{ range $labels }}{{ end }}{{ continue }}',
  '{{ range $x := $labels }}{{ $x := 1 }}{{ $x }}{{ end }}',
  '{{ range $labels }}{{ template "t" }}{{ end }}{{ define "t" }}{{ break }}{{ end }}',
  '{{ $n := 0 }}{{ range $labels }}{{ $n = . }}{{ end }}{{ $n }}',
  '{{ range $labels }}{{ else }}{{ break }}{{ end }}',
  '{{ $x := 1 }}{{ $x }}{{ $x = 2 }}{{ $x }}',
  '{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}',
  '{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}', '{{ if $x := 1 }}{{ $x }}{{ end }}',
  '{{ if $x := 0 }}{{ else }}{{ $x }}{{ end }}', '{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}',
  '{{ $x := 1 }}{{ $x := "b" }}{{ $x }}', '{{ $x = 1 }}',
  '{{ $x := print "a" | print "b" }}{{ $x }}', '{{ $x := 1 | print }}{{ $x }}', '{{ ($x := 1) }}',
  '{{ print ($x := 1) $x }}', '{{ $x := $y }}', '{{ $x := 1 }}{{ $x.y }}',
  '{{ $x := $labels }}{{ $x.job }}', '{{ $ := 1 }}{{ $ }}',
  '{{ $value = "v" }}{{ $value }}{{ .Value }}',
  '{{ $x := .Labels.job | toUpper | printf "%s!" }}{{ $x }}', '{{ $1 := 2 }}{{ $1 }}',
  '{{ $_ := 3 }}{{ $_ }}',
  '{{ define "t" }}[{{ . }}]{{ end }}{{ template "t" 1 }}{{ template "t" "x" }}{{ template "t" }}',
  '{{ template "t" $labels }}{{ define "t" }}{{ .job }}{{ end }}',
  '{{ define "t" }}{{ $labels.job }}{{ end }}',
  '{{ define "t" }}{{ $.job }}{{ end }}{{ template "t" $labels }}',
  '{{ define "t" }}{{ template "u" . }}{{ end }}{{ define "u" }}<{{ . }}>{{ end }}'
    .. '{{ template "t" 5 }}',
  '{{ block "b" . }}{{ .Value }}{{ end }}',
  '{{ block "b" 5 }}{{ . }}{{ end }}{{ template "b" 6 }}',
  '{{ define "t" }}a{{ end }}{{ define "t" }}b{{ end }}',
  '{{ define "t" }}a{{ end }}{{ define "t" }} {{ end }}{{ template "t" }}',
  '{{ define "t" }} {{ end }}{{ define "t" }}b{{ end }}{{ template "t" }}', '{{ define "t" }}a',
  '{{ define t }}{{ end }}', '{{ define }}{{ end }}', '{{ define "a" "b" }}{{ end }}',
  '{{ if true }}{{ define "t" }}x{{ end }}{{ end }}', '{{ define "t" }}{{ else }}{{ end }}',
  '{{ define "t" }}{{ define "u" }}{{ end }}{{ end }}',
  '{{ template "t" 1 2 }}{{ define "t" }}{{ end }}',
  '{{ template `t` 1 }}{{ define "t" }}{{ . }}{{ end }}', '{{ template "t" . | print }}',
  '{{ template "t" | print }}', '{{ template "nope" }}',
  '{{ define "t" }}{{ .x }}{{ end }}{{ template "t" 1 }}',
  '{{ define "t" }}\n  {{ humanize "x" }}{{ end }}a\n{{ template "t" 1 }}',
  '{{ define "t" }}{{ template "nope" }}{{ end }}{{ template "t" }}',
  '{{ define "__alert_x" }}other{{ end }}a',
  '{{ template "__alert_y" }}{{ define "__alert_y" }}y{{ end }}', '{{ block "b" }}{{ end }}',
  '{{ define "t" }}{{ return }}{{ end }}',
  '{{ define "t" }}{{ if true }}x{{ end }}{{ end }}{{ template "t" }}',
} do
  case(t)
end

-- Logic, comparisons, len, index, slice.
local OPERANDS = {
  '1', '2', '1.0', '"a"', '"b"', '""', 'true', 'false', '0', 'nil', '(index "ab" 0)', '97',
  '$labels', '1i', '(safeHtml "a")', '.',
}
for _, a in ipairs(OPERANDS) do
  for _, b in ipairs(OPERANDS) do
    case(('{{ eq %s %s }}'):format(a, b))
    case(('{{ lt %s %s }}'):format(a, b))
  end
  case(('{{ not %s }}'):format(a))
  case(('{{ len %s }}'):format(a))
  case(('{{ and %s 5 }}|{{ or %s 5 }}'):format(a, a))
end
for _, t in ipairs {
  'ne 1 2', 'ne 1 "a"', 'ne nil nil', 'le 1 1', 'le 2 1', 'gt 2 1', 'gt 1 1', 'ge 1 1', 'ge 1 2',
  'le "a" "b"', 'gt 1.5 1.0', 'ge 1 1.0', 'gt true false', 'eq 1 2 3 1', 'eq 1 2 3', 'eq 1 "a" 1',
  'eq 1 1 "a"', 'eq "a" "b" "a"', 'eq $value 1.5', 'eq $value 1', 'gt $value 1', 'lt $value 2.0',
  'eq $labels.job "api"', 'ne $labels.job "api"', 'gt (len $labels) 2', 'eq true true', 'eq 1i 1i',
  'ne 1i 2i', 'lt 1i 2i',
  'and true false', 'and 1 2 3', 'and 1 0 3', 'or 0 "" 5', 'or 0 ""', 'and true', 'or false',
  'and false (humanize "x")', 'or true (humanize "x")', 'and true (humanize "x")', '1 | and 2',
  '0 | or ""', '5 | or 0', 'true | not', 'and nil', 'or nil 1', 'not nil', 'and $labels 1',
  'and (eq 1 1) (eq 2 2)', 'or (eq 1 2) (eq 2 2)',
  'len "abc"', 'len "é"', 'len $labels', 'len 1', 'len nil', 'len .', 'len (args 1 2)', 'len 1.5',
  'len true', 'len (safeHtml "abc")', 'len (toTime 1)', 'len (index "a" 0)',
  'index $labels "job"', 'index $labels "nope"', 'index $labels', 'index $labels 1',
  'index $labels nil', 'index "abc" 0', 'index "abc" 2', 'index "abc" 3', 'index "abc" 4',
  'index "abc" -1', 'index "abc" "a"', 'index 1 1', 'index nil 1', 'index nil',
  'index (args "x" $labels) "arg1" "job"', 'index (args "x") "nope"',
  'index (args "x") "nope" "y"', 'index . "Labels"', 'index true 1', 'index $labels "job" 0',
  'index (safeHtml "abc") 1', 'index "abc" (index "\\x01" 0)', 'index (toTime 1) 0',
  'index $value 0',
  'slice "abcdef" 1 3', 'slice "abcdef" 2', 'slice "abcdef"', 'slice "abc" 1 2 3',
  'slice "abc" 1 2 3 4', 'slice "abc" 3 1', 'slice "abc" 4', 'slice "abc" 0 4', 'slice "abc" -1',
  'slice "abc" 3', 'slice 1 1', 'slice nil', 'slice $labels 1', 'slice "abc" "a"',
  'slice "abc" nil', 'slice (safeHtml "abc") 1', 'slice "abc" 1.0', 'slice .',
} do
  case('{{ ' .. t .. ' }}')
end

-- Regular expressions.
for _, p in ipairs {
  'a', '^a$', 'a|b', 'ab*', 'a+b?', '(a)(b)?', '[a-c]+', '[^a-c]+', '[]a]+', '[^]a]', '[a\\]b]',
  '[a-]', '[-a]', '[\\d-z]', '[a-\\d]', '[z-a]', '[[:alpha:]]+', '[[:^alpha:]]+', '[[:word:]]',
  '[[:foo:]]', '[:alpha:]', '[[:alpha:]', '\\d+', '\\D+', '\\w+', '\\W+', '\\s+', '\\S+', '[\\s]',
  '[\\S]+', '[\\W]', '\\bb', '\\Bb', '\\Aa', 'a\\z', 'a\\Z', '^', '$', '', '^*', '$+', '\\b*',
  '(^)*a', '.', '(?s).', '(?i)A', '(?i:A)b', '(?-i)a', '(?i)k', '(?i)[k]', '(?i)\\w+', '(?m)^b',
  '(?m)a$', '(?U)a+', '(?U)a+?', '(?x)a', '(?i-s:A)', '(?ims)A.', '(?i', '(?i-)', '(?-)', '(?)a',
  '(?:a)', '(?:a', '(a', 'a)', '(a|b', '()', '(|a)+', 'a||b', '|', '*', 'a**', 'a*+', 'a++', 'a??',
  'a???', 'a{2}', 'a{1,2}', 'a{1,}', 'a{,2}', 'a{', 'a{1', 'a{1,', 'a{x}', 'a{2,1}', 'a{1001}',
  'a{0}', 'a{0,0}b', 'a{2}{3}', 'a{2}*', '(a{2}){3}', '((a{100}){10}){2}', '(a{1000}){1}',
  '(a*){1001}', '{', '{1}', 'a|*', '(*a)', '(?P<n>a)', '(?P<n>a)(?P<m>b)', '(?P<n', '(?P<n>',
  '(?P<>a)', '(?P<n-m>a)', '(?P=n)', '(?=a)', '(?!a)', '(?<=a)', '(?>a)', '(?#c)a', '(?R)', '(?1)',
  '(?|a)', '\\1', '(a)\\1', '\\12', '\\01', '\\0', '\\07', '\\8', '\\x41', '\\x4', '\\x{41}',
  '\\x{}', '\\x{110000}', '\\x{4g}', '\\x', '\\a\\f\\n\\r\\t\\v', '\\e', '\\cA', '\\q', '\\_',
  '\\.', '\\-', '\\é', '\\', '[\\', '[a', '[', '[]', '[a-', '[\\Q]', '\\Qa.b\\E+', '\\Q', 'a\\Qb',
  '\\E', '\\C', '\\X', '\\R', '\\h', '\\N', '\\K', '\\G', '\\pL+', '\\PL', '\\p{L}', '\\p{Lu}+',
  '\\p{^L}', '\\P{^L}', '\\p{Greek}', '\\p{greek}', '\\p{Grek}', '\\p{Foo}', '\\p{', '\\p', '\\pX',
  '\\p{}', '\\p{Any}', '[\\pL\\d]+', '[^\\pL]', '[\\p{Lu}\\P{L}]', '(?i)\\p{Lu}+', '\\p{C}',
  '[\\PC]+', 'é+', '[à-ÿ]+', '.é', '(?i)É', '\u{10ffff}', 'x*', '(a+)+$', '(a|aa)+', '(.*)(b)',
  '.*?b', 'a.*', '(a)|(b)', '(?:(a)|b)*', '(?:a*)*', '(?:a*)+', '#', ' ', 'a b', '<', '=', '!',
  ',', ':', '-', '~', '@', '%', '&', '"', "'", '/', '^^a', 'a$$', 'a^b', '(?i)ſ', '[[]', '[[a]',
  '[a[:digit:]b]', '[^\\d\\s]+', '[\\x41-\\x43]', '[\\n-\\r]', '[a-c-e]', '[--/]', '[+--]',
  '[!-~]+', '\\.\\w+$', '(\\w+)[.:](\\w+)', '^(?:a|b)+$',
} do
  for _, s in ipairs { 'aAb aab\nbé.c:9 Ωk K ſ', '' } do
    case(('{{ match %s %s }}'):format(q(p), q(s)))
    case(('{{ reReplaceAll %s `<$1$0>` %s }}'):format(q(p), q(s)))
  end
end
for _, r in ipairs {
  'x', '$1', '${1}', '$1x', '${1}x', '$2', '$n', '${n}', '$nx', '${n}x', '$', '$$', '$$1', '$ ',
  '$-', '${', '${}', '${1', '${1 }', '${n', '$0$0', '$10', '$01', '${01}', '$9',
  '$é', '$1é', '$1→', '\\1', '${n}${m}', '$_', '',
} do
  case(('{{ reReplaceAll `(?P<n>a)(b)?(?P<m>c)?` %s `abc ab a` }}'):format(q(r)))
end

-- Labels that hold what is special to the language.
for _, s in ipairs {
  '{{ foo }}', '<script>', '%d %s', '"quoted"', '$1', 'a\nb', '\\d+', 'ünï', '{{', '`',
} do
  local l = { weird = s }
  for _, t in ipairs {
    '{{ $labels.weird }}', '{{ .Labels }}', '{{ printf $labels.weird 1 }}',
    '{{ reReplaceAll $labels.weird "x" "a1{{ foo }}" }}',
    '{{ reReplaceAll "." $labels.weird "a" }}', '{{ printf "%q" $labels.weird }}',
    '{{ humanize $labels.weird }}',
  } do
    case(t, 1, l)
  end
end
