--- Loaded by Busted before the specs: what all of them may count on, in one process as well as each
--- in its own.
local busted = require 'busted'
local clock = require 'perigee.clock'
local log = require 'log'

package.path = 'tests/?.lua;' .. package.path

-- What a file of specs has done to the process ends with it.
busted.subscribe({ 'file', 'end' }, function()
  clock.make_real()
  log.capture(false)
  log.setup('info', false)
  return nil, true
end)
