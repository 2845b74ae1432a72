--- The audit trail: append-only, each record bound to all before it by a chain of SHA-256, so that
--- an edit, an insertion or a deletion shows up to any head that was noted elsewhere.
local clock = require 'perigee.clock'
local hash = require 'perigee.hash'
local json = require 'perigee.json'

local audit = {}

audit.GENESIS = ('0'):rep(64)

--- hash = sha256(previous hash .. canonical JSON of the record without its hash)
local function link(previous, record) return hash.sha256(previous .. record) end

---@param store perigee.Store
---@return string hash, integer sequence
function audit.head(store)
  local row = store:row 'select sequence, hash from audit order by sequence desc limit 1'
  if not row then return audit.GENESIS, 0 end
  return row.hash, row.sequence
end

--- Appends a record; in the transaction of what it tells of, so that neither is there without the
--- other.
---@param store perigee.Store
---@param kind string      what happened: "plan_created", "action_started", …
---@param fields table     plain values
---@return string hash  the new head
function audit.append(store, kind, fields)
  return store:transaction(function()
    local previous, sequence = audit.head(store)
    local record = { sequence = sequence + 1, at = clock.text(clock.now()), kind = kind,
      prev_hash = previous }
    for name, value in pairs(fields) do record[name] = value end
    local text = json.encode(record)
    local head = link(previous, text)
    store:exec('insert into audit (sequence, record, hash) values (?, ?, ?)', sequence + 1, text,
      head)
    return head
  end)
end

--- A record; of one whose text is not what this program writes, only which one it is.
local function read(row)
  local record = json.decode(row.record)
  local ok, text = pcall(json.encode, record)
  if type(record) ~= 'table' or not ok or text ~= row.record or record.sequence ~= row.sequence then
    record = { sequence = row.sequence, unreadable = true }
  end
  record.hash = row.hash
  return record
end

--- Records from `after` on, oldest first, each with its hash.
---@param store perigee.Store
---@param after integer  a sequence number
---@param limit integer
function audit.list(store, after, limit)
  local out = json.array()
  local rows = store:rows(
    'select sequence, record, hash from audit where sequence > ? order by sequence limit ?', after,
    limit)
  for i, row in ipairs(rows) do out[i] = read(row) end
  return out
end

---@class audit.Verifier  goes through records in order
---@field add fun(self, record: table): boolean, string?
---@field finish fun(self, head: string?): boolean, string?

--- Checks records, as audit.list() gives them, from the first on.
---@return audit.Verifier
function audit.verifier()
  local previous, sequence, heads = audit.GENESIS, 0, {}
  local verifier = { records = 0 }

  function verifier.add(_, record)
    local copy = {}
    for name, value in pairs(record) do
      if name ~= 'hash' then copy[name] = value end
    end
    if record.sequence ~= sequence + 1 then
      return false,
        ('record %d is followed by record %s: something was taken out or put in'):format(sequence,
        tostring(record.sequence))
    end
    if record.prev_hash ~= previous or record.hash ~= link(previous, json.encode(copy)) then
      return false, ('record %d has been changed: its hash does not fit'):format(record.sequence)
    end
    previous, sequence = record.hash, record.sequence
    heads[previous] = true
    verifier.records, verifier.head = sequence, previous
    return true
  end

  --- After the last record: whether a head that was noted elsewhere is in the chain.
  function verifier.finish(_, head)
    if head and head ~= audit.GENESIS and not heads[head] then
      return false,
        ('the head %s is not in the trail: records were changed or cut off'):format(head)
    end
    return true
  end

  return verifier
end

return audit
