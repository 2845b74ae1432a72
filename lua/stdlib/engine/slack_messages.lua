--- What Slack is told about a plan, as Block Kit: pure functions from what is known to blocks.
--- Labels, reasons and diffs are hostile text here: escaped, cut to Slack's limits, and no mention
--- of anybody.
local check = require 'check'
local clock = require 'perigee.clock'
local json = require 'perigee.json'
local slack_text = require 'slack.text'
local units = require 'units'

local plain, length = slack_text.plain, slack_text.length

local slack_messages = {}

-- Slack's limits, in characters as JavaScript counts them, after escaping.
local HEADER, SECTION, FIELD, BUTTON = 150, 3000, 2000, 75
local CONFIRM_TITLE, CONFIRM_TEXT = 100, 300
local FALLBACK = 1000
local WHOLE = 12000      -- of all blocks as JSON; at some 13,000 Slack refuses
local EVIDENCE = 8       -- signals that are shown
local LINE = 300

-- -- text -----------------------------------------------------------------------------------------

local LOOKALIKE = { ['*'] = '∗', ['~'] = '∼', ['`'] = 'ˋ' }

--- A line of a mrkdwn text: also no formatting of its own. An underscore within a name is none.
local function line(text, limit)
  text = plain(text, limit or LINE):gsub('[*~`]', LOOKALIKE)
  return (text:gsub('()(_+)()', function(from, marks, to)
    local is_inside = text:find('^%w', from - 1) and from > 1 and text:find('^%w', to)
    return not is_inside and ('＿'):rep(#marks) or nil
  end))
end

local function code(text, limit)
  return '```\n' .. plain(text, limit - 8, true):gsub('`', 'ˋ') .. '\n```'
end

local function date(seconds)
  return ('<!date^%d^{date_short_pretty} {time}|%s>'):format(math.floor(seconds),
    clock.text(math.floor(seconds)))
end

--- Somebody who decided: by their id in Slack, where it is one.
local function person(who, via)
  if via == 'slack' and who:find '^[UW]%w+$' and #who <= 64 then return ('<@%s>'):format(who) end
  return line(who, 80)
end

local function state_text(p) return (p.state:gsub('_', ' ')) end

-- -- blocks ---------------------------------------------------------------------------------------

-- `verbatim`: Slack makes no links and no mentions of what looks like some.
local function mrkdwn(text) return { type = 'mrkdwn', text = text, verbatim = true } end
local function plain_text(text, limit)
  return { type = 'plain_text', text = plain(text, limit), emoji = false }
end
local function section(text) return { type = 'section', text = mrkdwn(text) } end

local function labels_text(labels)
  local parts = {}
  for _, name in ipairs(check.names(labels or {})) do
    parts[#parts + 1] = ('%s=%s'):format(name, labels[name])
  end
  return table.concat(parts, ', ')
end

--- How much of what a plan touches is unavailable while it runs, in words.
local function risk_text(p)
  local unavailable, replicas, warnings = 0, 0, 0
  for _, preview in ipairs(p.previews) do
    unavailable = unavailable + (preview.unavailable or 0)
    replicas = replicas + (preview.replicas or 0)
    warnings = warnings + #(preview.warnings or {})
  end
  local words = replicas > 0 and ('%d of %d pods unavailable at once'):format(unavailable, replicas)
    or 'no pods counted'
  if warnings > 0 then
    words = ('%s, %d warning%s'):format(words, warnings, warnings > 1 and 's' or '')
  end
  return words
end

local function fields(about)
  local p, progress = about.plan, about.progress
  local list = {
    ('*Playbook*\n%s'):format(line(p.playbook)), ('*Trust*\n%s'):format(line(p.trust)),
    ('*Risk*\n%s'):format(line(risk_text(p))),
    ('*Approvals*\n%d of %d%s'):format(progress.given, progress.needed,
      progress.group and ', of ' .. line(progress.group, 60) or ''),
    ('*State*\n%s'):format(state_text(p)),
    ('*Expires*\n%s'):format(date(p.expires_at)),
  }
  local out = json.array()
  for i, text in ipairs(list) do
    assert(length(text) <= FIELD)
    out[i] = mrkdwn(text)
  end
  return { type = 'section', fields = out }
end

local function evidence(about, budget)
  local incident = about.incident
  local lines = { '*What is wrong*' }
  if incident then
    lines[1] = ('*What is wrong*: %s  %s'):format(line(incident.name, 120),
      line(labels_text(incident.labels), LINE))
  end
  local left = budget - length(lines[1])
  for i, seen in ipairs(about.evidence) do
    local text = ('• *%s* %s: %s%s'):format(line(seen.signal, 120),
      line(labels_text(seen.labels), 200), line(seen.reason or units.number_text(seen.value), LINE),
      seen.sparkline ~= '' and '\n   ' .. seen.sparkline or '')
    local size = length(text) + 1
    if i > EVIDENCE or size > left then
      lines[#lines + 1] = ('… and %d more'):format(#about.evidence - i + 1)
      break
    end
    lines[#lines + 1], left = text, left - size
  end
  return section(table.concat(lines, '\n'))
end

--- The state of a step in words, once there is one.
local function progress_of(row, limit)
  if not row then return '' end
  local outcome = row.outcome ~= '' and json.decode(row.outcome) or {}
  return (' — *%s*%s'):format(line(row.state, 20), outcome.message
    and ': ' .. line(outcome.message, limit) or '')
end

--- A step: what it is, what the server's dry run says, and how it went.
local function step(about, i, budget)
  local action, preview = about.plan.actions[i], about.plan.previews[i] or {}
  local short = math.min(LINE, budget // 2 - 40)
  local head = ('*%d. %s*  %s%s'):format(i, line(action.name, 30),
    line(preview.summary or json.encode(action.args), short), progress_of(about.done[i], short))
  local lines, left = { head }, budget - length(head)
  local function add(text)
    local size = length(text) + 1
    if size <= left then lines[#lines + 1], left = text, left - size end
  end
  if about.reverted[i] then add('   reverted' .. progress_of(about.reverted[i], short)) end
  if preview.current or preview.proposed then
    add(('   %s → %s'):format(line(preview.current or '?', 150),
      line(preview.proposed or '?', 150)))
  end
  for _, warning in ipairs(preview.warnings or {}) do add('   ⚠ ' .. line(warning)) end
  if preview.diff and preview.diff ~= '' and left > 60 then
    add(code(preview.diff, math.min(left - 1, 2000)))
  end
  return table.concat(lines, '\n')
end

--- The steps, several to a block, so that a plan of fifty has room.
local function steps(about, blocks, budget)
  local n = #about.plan.actions
  local each = math.max(100, math.min(SECTION, budget // math.max(n, 1)))
  local text = ''
  for i = 1, n do
    local words = step(about, i, each)
    if text ~= '' and length(text) + length(words) + 1 > SECTION then
      blocks[#blocks + 1] = section(text)
      text = ''
    end
    text = text == '' and words or text .. '\n' .. words
  end
  if text ~= '' then blocks[#blocks + 1] = section(text) end
end

local function button(text, style, id, value, confirm)
  return { type = 'button', text = plain_text(text, BUTTON), style = style, action_id = id,
    value = value, confirm = confirm }
end

local function buttons(about)
  local p = about.plan
  local first = p.previews[1] and p.previews[1].summary or p.actions[1] and p.actions[1].name or ''
  return { type = 'actions', block_id = 'decision', elements = json.array {
    button('Approve', 'primary', 'approve_remediation', about.value, {
      title = plain_text('Approve this plan?', CONFIRM_TITLE),
      text = plain_text(('%s: %d steps. %s'):format(p.playbook, #p.actions, first), CONFIRM_TEXT),
      confirm = plain_text('Approve', 30), deny = plain_text('Not yet', 30), style = 'primary' }),
    button('Reject', 'danger', 'reject_remediation', about.value),
  } }
end

--- Who decided, the last ones, and what came of it.
local function decided(about)
  local lines, p = {}, about.plan
  for i = math.max(1, #about.decisions - 5), #about.decisions do
    local d = about.decisions[i]
    lines[#lines + 1] = ('%s by %s via %s at %s%s'):format(d.decision, person(d.who, d.via),
      line(d.via, 20), date(d.at), d.reason ~= '' and ': ' .. line(d.reason, 150) or '')
  end
  if p.state ~= 'pending' then
    lines[#lines + 1] = ('*%s*%s'):format(state_text(p),
      p.reason ~= '' and ': ' .. line(p.reason) or '')
  end
  return #lines > 0 and section(table.concat(lines, '\n')) or nil
end

local function context(about)
  local p = about.plan
  local parts = { ('plan %s'):format(line(p.id, 60)), p.digest }
  if p.incident_id then table.insert(parts, 1, 'incident ' .. line(p.incident_id, 60)) end
  return { type = 'context', elements = json.array { mrkdwn(table.concat(parts, '  ·  ')) } }
end

local function title(about)
  local p = about.plan
  if p.state == 'pending' then return 'To approve: ' .. p.playbook end
  return ('%s: %s'):format(p.playbook, state_text(p))
end

local function blocks_of(about, budget)
  local blocks = json.array { { type = 'header', text = plain_text(title(about), HEADER) } }
  blocks[#blocks + 1] = fields(about)
  blocks[#blocks + 1] = evidence(about, math.min(SECTION - LINE, budget * 3 // 10))
  steps(about, blocks, budget * 5 // 10)
  blocks[#blocks + 1] = decided(about)
  if about.plan.state == 'pending' then blocks[#blocks + 1] = buttons(about) end
  blocks[#blocks + 1] = context(about)
  return blocks
end

---@class slack_messages.About
---@field plan table          with actions, previews
---@field incident? table
---@field evidence { signal: string, labels: table, value: number, reason?: string,
---       sparkline: string }[]
---@field progress { given: integer, needed: integer, group?: string }
---@field decisions table[]   rows
---@field done table, reverted table  rows of the journal, by position
---@field value string        of the buttons

--- The message about a plan: blocks, and the text that notifications show.
---@param about slack_messages.About
---@return string text
---@return table blocks
function slack_messages.plan(about)
  local budget, blocks = WHOLE
  repeat
    blocks = blocks_of(about, budget)
    budget = budget * 3 // 4
  until length(json.encode(blocks)) <= WHOLE or budget < 100
  local text = title(about)
  if about.incident then
    text = ('%s (%s %s)'):format(text, about.incident.name, labels_text(about.incident.labels))
  end
  return plain(text, FALLBACK), blocks
end

--- A line in the thread, or for one person.
function slack_messages.text(text) return plain(text, FALLBACK) end

return slack_messages
