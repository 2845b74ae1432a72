--- The values templates work with. Go's string, int, float64 and bool are Lua's string, integer,
--- float and boolean; every other is a table with its Go type in `type`. Nothing is Lua's nil: what
--- Go has for "no value" is `none`.
local M = {}

---@class template.Type
---@field name string    as Go's %T writes it
---@field kind string    'string', 'map', 'slice', 'pointer', 'struct', 'uint', 'complex', …
---@field zero? any      of a map: what a missing key gives
---@field fields? string[]  of a struct, or of the one it points to
---@field plain? string  of a pointer: the name of what it points to

local ANY_MAP = 'map[string]interface {}'
local T = {
  invalid = { name = '<nil>', kind = 'invalid' },
  string = { name = 'string', kind = 'string' },
  int = { name = 'int', kind = 'int' },
  float = { name = 'float64', kind = 'float' },
  bool = { name = 'bool', kind = 'bool' },
  labels = { name = 'map[string]string', kind = 'map', zero = '' },
  args = { name = ANY_MAP, kind = 'map' },
  sample = {
    name = '*template.sample', kind = 'pointer', plain = 'template.sample',
    fields = { 'Labels', 'Value' },
  },
  vector = { name = 'template.queryResult', kind = 'slice' },
  html = { name = 'template.HTML', kind = 'string' },
  byte = { name = 'uint8', kind = 'uint' },
  complex = { name = 'complex128', kind = 'complex' },
  time = { name = '*time.Time', kind = 'pointer', plain = 'time.Time' },
  duration = { name = '*time.Duration', kind = 'pointer', plain = 'time.Duration' },
  root = {
    name = 'struct { Labels map[string]string; ExternalLabels map[string]string; '
      .. 'ExternalURL string; Value float64 }',
    kind = 'struct',
    fields = { 'Labels', 'ExternalLabels', 'ExternalURL', 'Value' },
  },
}
M.types = T

--- Go's invalid reflect.Value, and the nil of an interface that has been looked into.
M.none = { type = T.invalid }
--- The nil in an interface that has not been looked into yet: what a missing key of args gives.
M.nil_any = { type = { name = 'interface {}', kind = 'invalid' }, null = true }
T.args.zero = M.nil_any

M.nil_sample = { type = T.sample, null = true }
M.nil_vector = { type = T.vector, items = {}, null = true }

---@return template.Type
local function type_of(v)
  local kind = type(v)
  if kind == 'table' then return v.type end
  if kind == 'number' then return math.type(v) == 'integer' and T.int or T.float end
  return kind == 'string' and T.string or T.bool
end
M.type_of = type_of

--- The text of a value of kind 'string'.
---@return string
function M.text(v) return type(v) == 'string' and v or v.text end

---@param t table<string, string>
function M.labels(t) return { type = T.labels, items = t } end

--- Ends the expansion, whatever runs: for what would grow without bound.
---@param message string
function M.too_much(message) error({ limit = message }, 0) end

--- The keys of a map in Go's order of printing and ranging.
---@return string[]
function M.sorted_keys(map)
  local keys = {}
  for key in pairs(map.items) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

---@return integer?  nil for what has no length
function M.length(v)
  local kind = type_of(v).kind
  if kind == 'string' then return #M.text(v) end
  if kind == 'slice' then return #v.items end
  if kind ~= 'map' then return nil end
  local n = 0
  for _ in pairs(v.items) do n = n + 1 end
  return n
end

--- What `if` and `and` ask: is it more than the zero of its type?
---@return boolean
function M.is_true(v)
  local kind = type(v)
  if kind == 'boolean' then return v end
  if kind == 'string' then return v ~= '' end
  if kind == 'number' then return v ~= 0 end
  kind = v.type.kind
  if kind == 'invalid' then return false end
  if kind == 'pointer' then return not v.null end
  if kind == 'map' then return next(v.items) ~= nil end
  if kind == 'slice' then return v.items[1] ~= nil end
  if kind == 'string' then return v.text ~= '' end
  if kind == 'uint' then return v.n ~= 0 end
  if kind == 'complex' then return v.re ~= 0 or v.im ~= 0 end
  return true -- a struct
end

return M
