--- What a server's refusals mean for an action, in words for people.
local answers = {}

--- Without an answer it is known not to have happened only where no connection came about.
local NOT_SENT = { connection = true, dns = true, tls = true, refused = true, url = true,
  credentials = true }

--- Whether an object has changed since it was read. A JSON patch whose test has failed answers
--- 422, as what is wrong in itself does; only that says what is invalid.
---@param f table  the client's failure
function answers.is_conflict(f)
  if f.status == 409 then return f.reason ~= 'AlreadyExists' end
  return f.status == 422 and not (f.message or ''):find 'is invalid:'
end

function answers.is_gone(f) return f.status == 404 end

--- The words for a failure; the server's own where it has any.
---@param f table
---@param what string  what was asked for, in words: "Deployment shop/checkout"
function answers.words(f, what)
  if f.status == 403 then return ('forbidden: %s'):format(f.message) end
  if f.status == 404 then return ('%s is gone'):format(what) end
  if answers.is_conflict(f) then return ('%s keeps changing: %s'):format(what, f.message) end
  if f.status == 422 then return ('the server refuses it: %s'):format(f.message) end
  return f.message
end

--- Why an object could not be looked at.
---@return Action.Failure
function answers.failure(f, what)
  local status = f.status
  return { message = answers.words(f, what),
    transient = not status or status >= 500 or status == 429 or answers.is_conflict(f) }
end

--- What has come of a write that failed. A server that has failed itself, or has not answered, may
--- have carried it out.
---@return Action.Outcome
function answers.outcome(f, what)
  local happened = not f.status and not NOT_SENT[f.kind] or f.status and f.status >= 500
  return { result = happened and 'unknown' or 'failed', message = answers.words(f, what) }
end

--- For a plan where no cluster is configured.
answers.NO_CLUSTER = 'no cluster is configured: the key "kubernetes" is missing in perigee.yaml'

return answers
