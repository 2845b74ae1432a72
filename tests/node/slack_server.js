// Slack as far as approvals need it: Web API, Socket Mode, and signed clicks over HTTP, with its
// limits and its whims. `node slack_server.js [OPTIONS]` prints its port; OPTIONS is JSON. What a
// test wants of it goes to /control/NAME.
'use strict';
const crypto = require('crypto');
const http = require('http');
const { WebSocketServer } = require('ws');

const options = Object.assign({
  bot_token: 'xoxb-of-the-bot', app_token: 'xapp-of-the-app', signing_secret: 'of-the-signature',
  channels: { 'incident-response': 'C0001' }, user_groups: {},
  ping_ms: 1000, ack_ms: 3000, max_connections: 10, seed: 1,
}, JSON.parse(process.argv[2] || '{}'));

const BOT = { user_id: 'U0BOT', bot_id: 'B0001', team_id: 'T0001', app_id: 'A0001' };
const state = { messages: [], ephemerals: [], views: [], calls: [], acks: [], closes: [] };
const faults = []; // { method, times, status, retry_after, error, lose }
const tickets = new Set();
const triggers = new Map(); // id -> when it was given
const connections = new Set();
const waiting = new Map(); // envelope id -> who waits for its acknowledgement
let pinging = true;
let fragmented = false;
let dropping = 0;

// Marsaglia's xorshift: the same whims for the same seed.
let x = (options.seed * 2654435761) >>> 0 || 1;
function random() {
  x ^= x << 13; x >>>= 0; x ^= x >>> 17; x ^= x << 5; x >>>= 0;
  return x / 4294967296;
}

let last_us = 0;
function next_ts() {
  last_us = Math.max(last_us + 100, Date.now() * 1000);
  return `${Math.floor(last_us / 1e6)}.${String(last_us % 1e6).padStart(6, '0')}`;
}

class Refusal extends Error {
  constructor(error, more) { super(error); this.answer = { ok: false, error, ...more }; }
}

// -- blocks ---------------------------------------------------------------------------------------

function block_problems(blocks) {
  const wrong = [];
  const ids = new Set();
  function most(at, value, n, what) {
    if (typeof value !== 'string') wrong.push(`${at}: ${what} is no text`);
    else if (value.length > n) wrong.push(`${at}: ${what} must be less than ${n + 1} characters`);
    else if (value.length === 0) wrong.push(`${at}: ${what} is empty`);
  }
  function unique(at, id) {
    if (id === undefined) return;
    most(at, id, 255, 'id');
    if (ids.has(id)) wrong.push(`${at}: id "${id}" is there twice`);
    ids.add(id);
  }
  function text(at, t, n, type) {
    if (!t || (type ? t.type !== type : !['plain_text', 'mrkdwn'].includes(t.type))) {
      wrong.push(`${at}: no ${type || 'text'}`);
    } else most(at, t.text, n, 'text');
  }
  function element(at, e) {
    if (e.type !== 'button') return wrong.push(`${at}: unsupported type ${e.type}`);
    text(at, e.text, 75, 'plain_text');
    unique(at, e.action_id);
    if (e.value !== undefined) most(at, e.value, 2000, 'value');
    if (e.style !== undefined && !['primary', 'danger'].includes(e.style)) wrong.push(`${at}: style`);
    if (e.confirm) {
      text(at, e.confirm.title, 100, 'plain_text');
      text(at, e.confirm.text, 300);
      text(at, e.confirm.confirm, 30, 'plain_text');
      text(at, e.confirm.deny, 30, 'plain_text');
    }
  }
  function list(at, items, n) {
    if (!Array.isArray(items) || items.length < 1 || items.length > n) {
      wrong.push(`${at}: between 1 and ${n} items`);
      return [];
    }
    return items;
  }
  if (!Array.isArray(blocks) || blocks.length > 50) return ['no more than 50 items allowed'];
  blocks.forEach((b, i) => {
    const at = `/blocks/${i}`;
    unique(at, b.block_id);
    if (b.type === 'header') text(at, b.text, 150, 'plain_text');
    else if (b.type === 'section') {
      if (!b.text && !b.fields) wrong.push(`${at}: neither text nor fields`);
      if (b.text) text(at, b.text, 3000);
      if (b.fields) list(at, b.fields, 10).forEach((f) => text(at, f, 2000));
      if (b.accessory) element(at, b.accessory);
    } else if (b.type === 'context') list(at, b.elements, 10).forEach((e) => text(at, e, 3000));
    else if (b.type === 'actions') list(at, b.elements, 25).forEach((e) => element(at, e));
    else if (b.type !== 'divider') wrong.push(`${at}: unsupported type ${b.type}`);
  });
  return wrong;
}

function check_content(args, longest_text) {
  let blocks = args.blocks;
  if (typeof blocks === 'string') {
    try { blocks = JSON.parse(blocks); } catch (_) { throw new Refusal('invalid_blocks_format'); }
  }
  if (blocks !== undefined) {
    const messages = block_problems(blocks);
    if (messages.length) {
      throw new Refusal('invalid_blocks', { response_metadata: { messages: messages.map((m) => `[ERROR] ${m}`) } });
    }
    if (JSON.stringify(blocks).length > 13000) throw new Refusal('msg_blocks_too_long');
  }
  if (!args.text && !(blocks && blocks.length)) throw new Refusal('no_text');
  if (args.text !== undefined && args.text.length > longest_text) throw new Refusal('msg_too_long');
  return blocks;
}

// -- the methods ----------------------------------------------------------------------------------

function channel_of(name) {
  if (typeof name !== 'string') throw new Refusal('channel_not_found');
  const id = options.channels[name.replace(/^#/, '')];
  if (id) return id;
  if (Object.values(options.channels).includes(name)) return name;
  throw new Refusal('channel_not_found');
}

function message_of(channel, ts) {
  return state.messages.find((m) => m.channel === channel && m.ts === ts);
}

function shown(m) {
  const { channel, updates, ...rest } = m;
  return rest;
}

const METHODS = {
  'auth.test': () => ({ url: 'https://shop.slack.com/', team: 'Shop', user: 'perigee', ...BOT }),
  'chat.postMessage': (a) => {
    const channel = channel_of(a.channel);
    const blocks = check_content(a, 40000);
    if (a.thread_ts && !message_of(channel, a.thread_ts)) throw new Refusal('thread_not_found');
    const m = { type: 'message', user: BOT.user_id, bot_id: BOT.bot_id, app_id: BOT.app_id, team: BOT.team_id, channel,
      ts: next_ts(), text: a.text, blocks, thread_ts: a.thread_ts, metadata: a.metadata, updates: 0 };
    state.messages.push(m);
    return { channel, ts: m.ts, message: shown(m) };
  },
  'chat.update': (a) => {
    if (!/^[CDG]/.test(a.channel || '')) throw new Refusal('channel_not_found'); // an id, no name
    const m = message_of(channel_of(a.channel), a.ts);
    if (!m) throw new Refusal('message_not_found');
    if (m.user !== BOT.user_id) throw new Refusal('cant_update_message');
    const blocks = check_content(a, 4000);
    if (a.text !== undefined) { m.text = a.text; m.blocks = blocks; } else m.blocks = blocks;
    m.updates += 1;
    return { channel: m.channel, ts: m.ts, text: m.text, message: shown(m) };
  },
  'chat.postEphemeral': (a) => {
    if (!/^[UW]/.test(a.user || '')) throw new Refusal('user_not_in_channel');
    const e = { channel: channel_of(a.channel), user: a.user, text: a.text,
      blocks: check_content(a, 40000), message_ts: next_ts() };
    state.ephemerals.push(e);
    return { message_ts: e.message_ts };
  },
  'conversations.history': (a) => {
    const channel = channel_of(a.channel);
    const found = state.messages.filter((m) => m.channel === channel && !m.thread_ts
      && (!a.oldest || m.ts > a.oldest) && (!a.latest || m.ts < a.latest)).reverse();
    const n = Number(a.limit || 100);
    return { messages: found.slice(0, n).map((m) => {
      const one = shown(m);
      if (!a.include_all_metadata) delete one.metadata;
      return one;
    }), has_more: found.length > n };
  },
  'conversations.replies': (a) => {
    const channel = channel_of(a.channel);
    return { messages: state.messages.filter((m) => m.channel === channel
      && (m.ts === a.ts || m.thread_ts === a.ts)).map(shown), has_more: false };
  },
  'usergroups.users.list': (a) => {
    const users = options.user_groups[a.usergroup];
    if (!users) throw new Refusal('no_such_subteam');
    return { users };
  },
  'views.open': (a) => {
    const given = triggers.get(a.trigger_id);
    if (given === undefined) throw new Refusal('invalid_trigger_id');
    triggers.delete(a.trigger_id);
    if (Date.now() - given > 3000) throw new Refusal('trigger_expired');
    if (!a.view || a.view.type !== 'modal') throw new Refusal('invalid_arguments');
    const view = { id: `V${state.views.length + 1}`, ...a.view };
    state.views.push(view);
    return { view };
  },
  'apps.connections.open': () => {
    const ticket = crypto.randomUUID();
    tickets.add(ticket);
    setTimeout(() => tickets.delete(ticket), 30000).unref();
    return { url: `ws://127.0.0.1:${server.address().port}/link/?ticket=${ticket}&app_id=${BOT.app_id}` };
  },
};

// Who may call what: the app's token opens connections and nothing else.
function check_token(method, request, args) {
  const [, token] = /^Bearer (\S+)$/.exec(request.headers.authorization || '') || [];
  const for_app = method === 'apps.connections.open';
  if (!token && args.token && !for_app) return check_token(method, { headers: { authorization: `Bearer ${args.token}` } }, {});
  if (!token) throw new Refusal('not_authed');
  if (token !== options.bot_token && token !== options.app_token) throw new Refusal('invalid_auth');
  if ((token === options.app_token) !== for_app) throw new Refusal('not_allowed_token_type');
}

function parse_args(request, body) {
  const type = request.headers['content-type'] || '';
  if (type.startsWith('application/json')) {
    return { args: JSON.parse(body || '{}'), warning: /charset/.test(type) ? undefined : 'missing_charset' };
  }
  const args = Object.fromEntries(new URLSearchParams(body));
  if (typeof args.metadata === 'string') args.metadata = JSON.parse(args.metadata);
  if (typeof args.view === 'string') args.view = JSON.parse(args.view);
  return { args };
}

function fault_of(method) {
  const i = faults.findIndex((f) => f.method === method || f.method === '*');
  if (i < 0) return undefined;
  const f = faults[i];
  f.times = (f.times || 1) - 1;
  if (f.times <= 0) faults.splice(i, 1);
  return f;
}

function api(method, request, body, answer) {
  const { args, warning } = parse_args(request, body);
  state.calls.push({ method, at: Date.now() });
  const fault = fault_of(method);
  if (fault && !fault.lose) {
    const headers = fault.retry_after ? { 'Retry-After': String(fault.retry_after) } : {};
    return answer(fault.status || 200, fault.error ? { ok: false, error: fault.error } : {}, headers);
  }
  let result;
  try {
    check_token(method, request, args);
    if (!METHODS[method]) throw new Refusal('unknown_method');
    result = { ok: true, ...METHODS[method](args) };
    if (warning) result.warning = warning;
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    result = e.answer;
  }
  if (fault) return request.socket.destroy(); // it is done, and nobody hears of it
  answer(200, result);
}

// -- Socket Mode ----------------------------------------------------------------------------------

const wss = new WebSocketServer({ noServer: true });

function send(ws, object) {
  const text = JSON.stringify(object);
  if (!fragmented) return ws.send(text);
  const step = Math.max(1, Math.ceil(text.length / 3));
  for (let at = 0; at < text.length; at += step) {
    ws.send(text.slice(at, at + step), { fin: at + step >= text.length });
    if (at + step < text.length && pinging) ws.ping('Ping from applink-2');
  }
}

function disconnect(ws, reason) {
  send(ws, { type: 'disconnect', reason, debug_info: { host: 'applink-2' } });
}

function acknowledged(envelope_id, payload) {
  const w = waiting.get(envelope_id);
  state.acks.push({ envelope_id, ms: w ? Date.now() - w.at : undefined });
  if (!w) return;
  waiting.delete(envelope_id);
  w.done({ acknowledged: true, ms: Date.now() - w.at, envelope_id, payload });
}

wss.on('connection', (ws) => {
  connections.add(ws);
  const ping = setInterval(() => { if (pinging) ws.ping('Ping from applink-2'); }, options.ping_ms);
  ws.on('message', (data) => {
    let message;
    try { message = JSON.parse(data); } catch (_) { return; }
    acknowledged(message.envelope_id, message.payload);
  });
  ws.on('close', (code) => {
    connections.delete(ws);
    clearInterval(ping);
    state.closes.push({ code });
    for (const [id, w] of waiting) {
      if (w.ws !== ws) continue;
      waiting.delete(id);
      w.done({ acknowledged: false, error: 'the connection has ended', envelope_id: id });
    }
  });
  ws.on('error', () => {});
  if (connections.size > options.max_connections) return disconnect(ws, 'too_many_websockets');
  send(ws, { type: 'hello', num_connections: connections.size,
    debug_info: { host: 'applink-2', build_number: 1, approximate_connection_time: 18060 },
    connection_info: { app_id: BOT.app_id } });
});

function upgrade(request, socket, head) {
  const ticket = new URL(request.url, 'http://x').searchParams.get('ticket');
  if (!tickets.delete(ticket)) return socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
  wss.handleUpgrade(request, socket, head, (ws) => wss.emit('connection', ws, request));
}

// Each envelope goes to one connection, any of them. Without one it is lost, as a click is.
function deliver(type, payload, done) {
  const open = [...connections].filter((ws) => ws.readyState === 1);
  if (open.length === 0) return done({ acknowledged: false, error: 'no connection' });
  const ws = open[Math.floor(random() * open.length)];
  const envelope_id = crypto.randomUUID();
  const timer = setTimeout(() => {
    waiting.delete(envelope_id);
    done({ acknowledged: false, error: 'not acknowledged in time', envelope_id });
  }, options.ack_ms);
  const finish = (result) => { clearTimeout(timer); done(result); };
  const before = random() < dropping / 2;
  const after = random() < dropping / 2;
  waiting.set(envelope_id, { ws, at: Date.now(), done: finish });
  if (before) ws.terminate(); // before it has been sent
  else send(ws, { envelope_id, type, payload, accepts_response_payload: type !== 'events_api' });
  if (after && !before) ws._socket.end(() => setTimeout(() => ws.terminate(), random() * 20)); // it may have been read
}

// -- clicks ---------------------------------------------------------------------------------------

function click_payload(c) {
  const m = message_of(c.channel, c.ts) || { ts: c.ts, text: '' };
  const trigger_id = crypto.randomUUID();
  triggers.set(trigger_id, Date.now());
  return { type: 'block_actions', user: { id: c.user, username: 'someone', name: 'someone', team_id: BOT.team_id },
    api_app_id: BOT.app_id, token: 'old', team: { id: BOT.team_id, domain: 'shop' },
    container: { type: 'message', message_ts: c.ts, channel_id: c.channel, is_ephemeral: false },
    channel: { id: c.channel, name: 'incident-response' }, message: shown(m), trigger_id,
    response_url: `http://127.0.0.1:${server.address().port}/response/${trigger_id}`, state: { values: {} },
    actions: [{ type: 'button', action_id: c.action_id, block_id: c.block_id || 'b1', value: c.value,
      text: { type: 'plain_text', text: 'x' }, action_ts: next_ts(), ...c.action }] };
}

// Over HTTP: signed, or as wrongly as asked for.
function post(c, payload, done) {
  const body = c.body || `payload=${encodeURIComponent(JSON.stringify(payload))}`;
  const timestamp = String(Math.floor(Date.now() / 1000) + (c.skew || 0));
  const mac = crypto.createHmac('sha256', c.secret || options.signing_secret).update(`v0:${timestamp}:${body}`).digest('hex');
  const at = Date.now();
  const request = http.request(c.url, { method: 'POST', timeout: 3000, headers: {
    'Content-Type': c.content_type || 'application/x-www-form-urlencoded', 'Content-Length': Buffer.byteLength(body),
    'X-Slack-Request-Timestamp': timestamp, 'X-Slack-Signature': `v0=${mac}` } }, (response) => {
    let text = '';
    response.on('data', (d) => { text += d; });
    response.on('end', () => done({ acknowledged: response.statusCode === 200, status: response.statusCode, body: text, ms: Date.now() - at }));
  });
  request.on('timeout', () => request.destroy(new Error('not acknowledged in time')));
  request.on('error', (e) => done({ acknowledged: false, error: e.message }));
  request.end(body);
}

const CONTROL = {
  state: (a, done) => done({ ...state, connections: connections.size, waiting: waiting.size }),
  click: (a, done) => (a.url ? post(a, a.body ? null : click_payload(a), done) : deliver('interactive', click_payload(a), done)),
  envelope: (a, done) => deliver(a.type, a.payload || {}, done),
  // What stands on no envelope: text as it is, to every connection.
  say: (a, done) => { connections.forEach((ws) => ws.send(a.binary ? Buffer.from(a.text) : a.text)); done({}); },
  fault: (a, done) => { faults.push(a); done({}); },
  disconnect: (a, done) => {
    [...connections].slice(0, a.count || connections.size).forEach((ws) => {
      disconnect(ws, a.reason);
      if (a.cut_after_ms !== undefined) setTimeout(() => ws.terminate(), a.cut_after_ms);
    });
    done({});
  },
  drop: (a, done) => { connections.forEach((ws) => ws.terminate()); done({}); },
  set: (a, done) => {
    if (a.pinging !== undefined) pinging = a.pinging;
    if (a.fragmented !== undefined) fragmented = a.fragmented;
    if (a.dropping !== undefined) dropping = a.dropping;
    // Still there, and deaf and dumb: as behind a firewall that has forgotten the connection.
    if (a.silent) connections.forEach((ws) => { ws._socket.pause(); ws.ping = () => {}; });
    Object.assign(options, a.options || {});
    done({});
  },
  forget: (a, done) => { state.acks = []; state.calls = []; state.closes = []; faults.length = 0; done({}); },
};

const server = http.createServer((request, response) => {
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (d) => { body += d; });
  request.on('end', () => {
    function answer(status, value, headers) {
      response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', ...headers });
      response.end(JSON.stringify(value).replace(/\//g, '\\/')); // as Slack's PHP writes it
    }
    const [, kind, name] = /^\/(api|control)\/([\w.]+)/.exec(request.url) || [];
    if (kind === 'api') return api(name, request, body, answer);
    if (kind === 'control' && CONTROL[name]) return CONTROL[name](JSON.parse(body || '{}'), (r) => answer(200, r));
    answer(404, { ok: false });
  });
});
server.on('upgrade', upgrade);
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
