--- `perigee lua`: runs a script with every module and the event loop.
return function(script, ...)
  local chunk, message, args
  if script == '-e' then
    args = { select(2, ...) }
    args[0] = '-e'
    chunk, message = load((...) or '', '=(command line)', 't')
  else
    args = { ... }
    args[0] = script
    chunk, message = loadfile(script, 't')
  end
  if not chunk then error(message, 0) end
  _G.arg = args
  return chunk(table.unpack(args))
end
