--- What a button carries: which plan, of which digest, and a seal that nobody else can make. It
--- names a plan and commands nothing.
local hash = require 'perigee.hash'

local slack_value = {}

local PREFIX, MAC = 16, 32 -- hexadecimal digits of the plan's digest, and of the seal

--- The key, made when it is needed first.
local function key(store)
  return store:transaction(function()
    store:exec("insert or ignore into settings (name, value) values ('slack_key', ?)",
      hash.random(32))
    return store:row "select value from settings where name = 'slack_key'".value
  end)
end

local function mac(store, text) return hash.hmac_sha256(key(store), text):sub(1, MAC) end

local function prefix_of(digest) return digest:match '^sha256:(%x+)$':sub(1, PREFIX) end

---@param p { id: string, digest: string }
---@return string
function slack_value.seal(store, p)
  local text = ('v1:%s:%s'):format(p.id, prefix_of(p.digest))
  return ('%s:%s'):format(text, mac(store, text))
end

--- The plan's id and its digest's first digits, if the seal is ours.
---@param value string
---@return string? id
---@return string? prefix
function slack_value.open(store, value)
  local text, id, prefix, given = value:match '^(v1:([%w%-]+):(%x+)):(%x+)$'
  if not text or not hash.equal(given, mac(store, text)) then return nil end
  return id, prefix
end

---@return boolean
function slack_value.fits(prefix, digest) return prefix == prefix_of(digest) end

return slack_value
