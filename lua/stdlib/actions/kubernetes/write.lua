--- Changes an object that must still be as it was looked at. Every write carries the version that
--- it was made from: a server that knows a newer one refuses it, and the object is read again.
local answers = require 'actions.kubernetes.answers'
local async = require 'async'
local target = require 'actions.kubernetes.target'

local write = {}

local ATTEMPTS, PAUSE = 5, 0.05 -- seconds, doubled each time, half of it by chance

---@class kubernetes.Write
---@field target kubernetes.Target
---@field uid string                                the object that was looked at
---@field read? fun(): table?, table?               the object; the target's own unless said
---@field done? fun(object: table): string?         words where it is as wanted already
---@field edited fun(object: table): boolean        whether somebody has changed what counts
---@field send fun(object: table): table?, table?   the write, made from this very version

local function failed(...) return { result = 'failed', message = (...):format(select(2, ...)) } end

--- One attempt: an outcome, or nothing where a version was too old.
local function attempt(k, o, what)
  local object, failure
  if o.read then
    object, failure = o.read()
  else
    object, failure = k:get(o.target.resource, o.target.namespace, o.target.name)
  end
  if not object then
    return failed('%s; nothing was changed', answers.words(failure, what))
  end
  if object.metadata.uid ~= o.uid then
    return failed('%s is another one than was looked at: it was deleted and made anew meanwhile; '
      .. 'nothing was changed', what)
  end
  local words = o.done and o.done(object)
  if words then return { result = 'succeeded', message = words, idle = true } end
  if o.edited(object) then return failed('%s was edited meanwhile: nothing was changed', what) end
  local answer
  answer, failure = o.send(object)
  if answer then return { result = 'succeeded', answer = answer, object = object } end
  if not answers.is_conflict(failure) then return answers.outcome(failure, what) end
end

--- Carries out a write. An outcome that succeeded holds the server's `answer`, and the `object` as
--- it was, unless there was nothing to change.
---@param k table  the client
---@param o kubernetes.Write
---@return Action.Outcome
function write.guarded(k, o)
  local what = target.text(o.target)
  for i = 1, ATTEMPTS do
    local outcome = attempt(k, o, what)
    if outcome then return outcome end
    if i < ATTEMPTS then async.sleep(PAUSE * 2 ^ i * (0.5 + math.random() / 2)) end
  end
  return failed('%s changed each of the %d times that it was tried: nothing was changed', what,
    ATTEMPTS)
end

--- An outcome as the journal keeps it.
function write.plain(outcome)
  return { result = outcome.result, message = outcome.message, idle = outcome.idle }
end

--- Tells the cluster what was done, where people look for it. Nothing depends on it, so nothing
--- waits for it.
---@param k table
---@param object table
---@param reason string   "Scaled"
---@param message string
function write.tell(k, object, reason, message)
  async.spawn(k.event, k, object,
    { type = 'Normal', reason = reason, message = message, action = reason })
end

return write
