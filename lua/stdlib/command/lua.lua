--- `perigee lua`: runs a script with every module and the event loop.
local USAGE = [[
Usage: perigee lua SCRIPT [ARG…]
       perigee lua -e CODE [ARG…]

Runs a Lua 5.4 script. Unlike rule files it has the whole standard library, and every module of
Perigee; calls that wait suspend only their task. The exit status is what the script gives to
os.exit, or 1 when an error ends it.
]]

return function(script, ...)
  if script == '--help' or script == '-h' then
    io.write(USAGE)
    return 0
  end
  if not script or script == '-e' and not ... then
    io.stderr:write(USAGE)
    return 2
  end
  local chunk, message, args
  if script == '-e' then
    args = table.pack(select(2, ...))
    args[0] = '-e'
    chunk, message = load((...), '=(command line)', 't')
  else
    args = table.pack(...)
    args[0] = script
    chunk, message = loadfile(script, 't')
  end
  if not chunk then error(message, 0) end
  args.n = nil
  _G.arg = args
  chunk(table.unpack(args))
  return 0
end
