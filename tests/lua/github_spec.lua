--- The client of GitHub's API, where the answers are not those of a good day.
local github = require 'github'
local http = require 'http'
local task = require 'perigee.task'

describe('GitHub\'s API', function()
  local server, answer, client

  before_each(function()
    server = assert(http.serve({}, function(request) return answer(request) end))
    client = github.client { api_url = ('http://127.0.0.1:%d'):format(server:port()) }
  end)
  after_each(function() server:close() end)

  it('is waited for a minute where a limit does not say how long it lasts', function()
    local slept = stub(task, 'sleep')
    finally(function() slept:revert() end)
    local left = 1
    answer = function()
      left = left - 1
      if left < 0 then return { status = 201, body = '{"id": 1}' } end
      return { status = 403, body = '{"message": "You have exceeded a secondary rate limit."}' }
    end
    assert.same({ id = 1 }, (client:request('POST', '/x', { body = {} })))
    assert.stub(slept).was.called_with(60)
    left = 3
    local _, failure = client:request('POST', '/x', { body = {} })
    assert.same({ true, false }, { failure.transient, failure.forbidden })
  end)

  it('is not what answers with a page', function()
    answer = function() return { status = 200, body = '<html>welcome</html>' } end
    local data, failure = client:request('POST', '/x', { body = {} })
    assert.is_nil(data)
    assert.matches('is not GitHub', failure.message, 1, true)
    assert.is_true(failure.uncertain)
  end)

  it('has lists that are whole, or an error', function()
    answer = function()
      return { status = 200, body = '[1]', headers = { Link = '<http://x>; rel="next"' } }
    end
    local items, failure = client:list '/x'
    assert.is_nil(items)
    assert.equal('/x: more than 10000 items', failure.message)
  end)
end)
