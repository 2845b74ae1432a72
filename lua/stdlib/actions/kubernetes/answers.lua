--- What a server's refusals mean for an action, in words for people.
local answers = {}

--- Whether an object has changed since it was read. A JSON patch whose test has failed answers
--- 422, as what is wrong in itself does; only that has causes.
---@param f kubernetes.Failure
function answers.is_conflict(f)
  if f.status == 409 then return f.reason ~= 'AlreadyExists' end
  return f.status == 422 and not f.causes
end

--- Whether there is no such object.
function answers.is_gone(f) return f.status == 404 end

--- The words for a failure; the server's own where it has any.
---@param f kubernetes.Failure
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
    transient = not status or status >= 500 or status == 429 or f.kind == 'not_kubernetes'
      or answers.is_conflict(f) }
end

--- What has come of a write that failed. A server that has failed itself, or has not answered, may
--- have carried it out.
---@return Action.Outcome
function answers.outcome(f, what)
  local refused = f.unsent or f.kind == 'status' and f.status < 500
  return { result = refused and 'failed' or 'unknown', message = answers.words(f, what) }
end

--- The words for the disruption budget that does not let a pod go, or nil where that is not why.
---@param f kubernetes.Failure
---@return string?
function answers.budget(f)
  if f.status ~= 429 then return nil end
  for _, cause in ipairs(f.causes or {}) do
    if cause.reason == 'DisruptionBudget' then
      return ('a disruption budget does not allow it: %s'):format(cause.message or f.message)
    end
  end
end

--- What a preview warns of, where there is anything.
---@param ... string?
---@return string[]?
function answers.warnings(...)
  local out = {}
  for i = 1, select('#', ...) do out[#out + 1] = (select(i, ...)) end
  return out[1] and out or nil
end

--- For a plan where no cluster is configured.
answers.NO_CLUSTER = 'no cluster is configured: the key "kubernetes" is missing in perigee.yaml'

return answers
