--- What the client's specs share: an API server that says what it is told, and a client of it.
local file = require 'perigee.file'
local folders = require 'lua.folders'
local http = require 'http'
local json = require 'json'
local kubernetes = require 'kubernetes'

local support = {}

local KUBECONFIG = [[
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test, namespace: shop}}]
clusters: [{name: test, cluster: {server: "%s"}}]
users: [{name: test, user: {%s}}]
]]

--- A folder that tidy() takes away.
support.folder, support.tidy = folders.new, folders.tidy

--- Writes a kubeconfig for a server and a user (YAML of the inside of its braces). Its path.
function support.kubeconfig(url, user)
  local path = support.folder() .. '/config'
  assert(file.write(path, KUBECONFIG:format(url, user or 'token: test-token-0123456789')))
  return path
end

--- An answer in JSON.
function support.answer(value, status, headers)
  headers = headers or {}
  headers['Content-Type'] = 'application/json'
  return { status = status or 200, headers = headers, body = json.encode(value) }
end

--- An answer as the server writes its errors.
function support.status(code, reason, message, details)
  return support.answer({ kind = 'Status', apiVersion = 'v1', status = 'Failure', code = code,
    reason = reason, message = message, details = details }, code)
end

--- Runs f with a client of a server that answers as told, and with what was asked.
---@param answers table|fun(request: table, n: integer): table  a response, a list of them in turn,
---       of which the last stays, or a function
---@param f fun(client: kubernetes.Client, asked: table[])
---@param user? string  of the kubeconfig
function support.with(answers, f, user)
  local asked = {}
  local server <close> = setmetatable({ http = assert(http.serve({}, function(request)
    asked[#asked + 1] = request
    if type(answers) == 'function' then return answers(request, #asked) end
    if answers.status or answers.body then return answers end
    return answers[math.min(#asked, #answers)]
  end)) }, { __close = function(s) s.http:close() end })
  local url = ('http://127.0.0.1:%d'):format(server.http:port())
  f(assert(kubernetes.client { kubeconfig = support.kubeconfig(url, user) }), asked)
end

return support
