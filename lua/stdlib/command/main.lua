--- The first thing that runs: finds the command named on the command line and runs it.
return function(name, ...)
  return require('command.' .. name)(...)
end
