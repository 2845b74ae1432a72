-- Build step: the files named become one C file of byte arrays. Lua modules of the standard library
-- become bytecode (which loads several times faster than text and keeps its line numbers), all else
-- stays as it is. Usage: lua5.4 embed.lua FILE… >embedded.c
local write = io.write

local function read(path)
  local file <close> = assert(io.open(path, 'rb'))
  return file:read('a')
end

local function bytes(s)
  local line = {}
  for i = 1, #s, 24 do
    line[#line + 1] = s:sub(i, i + 23):gsub('.', function(c) return c:byte() .. ',' end)
  end
  return table.concat(line, '\n')
end

write('#include "host/loader.h"\n')
local rows = {}
for i, path in ipairs(arg) do
  local data, name = read(path), path
  if path:match('^lua/stdlib/.*%.lua$') then
    name = path:gsub('^lua/stdlib/', ''):gsub('%.lua$', ''):gsub('/', '.')
    -- What every cell holds a copy of goes without its lines: a fault names the rule's line anyway.
    local strip = name == 'rules.sandbox' or name == 'rules.vocabulary'
    data = string.dump(assert(load(data, '@' .. path, 't')), strip)
  end
  write(('static const unsigned char file_%d[] = {\n%s0};\n'):format(i, bytes(data)))
  rows[i] = ('{"%s", file_%d, %d},\n'):format(name, i, #data)
end
write('const struct embedded embedded_files[] = {\n', table.concat(rows), '{0, 0, 0}};\n')
