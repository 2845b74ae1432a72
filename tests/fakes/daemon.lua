--- perigee.daemon without a daemon, for what asks it how the program is. Required before that, it
--- takes the real one's place.
local daemon = {
  outcome = { true, {} }, -- of a reload: whether it went well, and what there is to say
  store = nil,            -- what a generation is given to keep its state in, or nil and `refusal`
  refusal = nil,
  prepared = nil,         -- what the last generation asked for
}

function daemon.measure() end
function daemon.process() return 'process-1' end
function daemon.reload() return table.unpack(daemon.outcome) end
function daemon.prepare(options)
  daemon.prepared = options
  return daemon.store, daemon.refusal
end

function daemon.version() return '0.0.0' end
function daemon.started_at() return 1700000000 end
function daemon.last_reload() return { outcome = 'ok', at = 1700000000, problems = {} } end

package.loaded['perigee.daemon'] = daemon
return daemon
