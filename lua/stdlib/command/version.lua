--- `perigee version`: the program's and its libraries' versions.
local cli = require 'command.cli'
local daemon = require 'perigee.daemon'
local yaml = require 'perigee.yaml'

local SPEC = {
  usage = 'version',
  summary = 'Prints the version and those of the libraries.',
  options = { cli.JSON },
}

return function(...)
  local values, status = cli.parse(SPEC, ...)
  if not values then return status end
  local libraries = daemon.libraries()
  libraries.libyaml = yaml.library()
  if values.json then
    cli.print_json { name = 'perigee', version = daemon.version(), libraries = libraries }
    return cli.DONE
  end
  print('perigee ' .. daemon.version())
  for _, name in ipairs(require('check').names(libraries)) do
    print(('  %-14s %s'):format(name, libraries[name]))
  end
  return cli.DONE
end
