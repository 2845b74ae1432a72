std = 'lua54'
max_line_length = 100
ignore = { '211/_.*', '212/self', '212/_.*', '542' }
files['tests/**/*_spec.lua'] = { std = '+busted' }
files['lua/stdlib/rules/sandbox.lua'] = { globals = { '_G' } }
-- Rule files: the words of the language are there, and nothing else.
local words = { 'signal', 'incident', 'playbook', 'threshold', 'z_score', 'robust_z_score', 'hour_of_week',
  'ratio_to_baseline', 'combine', 'http', 'verify', 'metric' }
files['examples/*/rules/*.lua'] = { read_globals = words }
