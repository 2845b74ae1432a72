// The first page: what is odd, what came of it, what is planned; and the decision about a plan.
'use strict';

const tokenKey = 'perigee-token';
const byId = (id) => document.getElementById(id);

// Text from elsewhere is only ever text here: nothing is put into the page as HTML.
function cell(row, content, className) {
  const td = row.insertCell();
  td.textContent = content ?? '';
  if (className) td.className = className;
  return td;
}

function labelsText(labels) {
  return Object.entries(labels ?? {}).map(([name, value]) => `${name}="${value}"`).join(', ');
}

function timeText(text) {
  return text ? new Date(text).toLocaleString() : '';
}

function numberText(value) {
  return typeof value === 'number' ? Number(value.toPrecision(4)).toString() : value ?? '';
}

function fill(id, items, draw) {
  const body = byId(id).tBodies[0];
  const rows = document.createDocumentFragment();
  for (const item of items) draw(rows.appendChild(document.createElement('tr')), item);
  if (items.length === 0) {
    const row = rows.appendChild(document.createElement('tr'));
    cell(row, 'none', 'empty').colSpan = 6;
  }
  body.replaceChildren(rows);
}

function drawIncident(row, incident) {
  cell(row, incident.state, `state ${incident.state}`);
  cell(row, incident.name);
  cell(row, labelsText(incident.labels));
  cell(row, timeText(incident.opened_at));
  cell(row, incident.anomalies.map((a) => `${a.signal}: ${a.reason ?? ''}`).join('\n')).style.whiteSpace = 'pre-line';
  cell(row, incident.recommendation);
}

function drawPlan(row, plan) {
  cell(row, plan.state, `state ${plan.state}`);
  cell(row, plan.playbook);
  cell(row, plan.trust);
  cell(row, timeText(plan.created_at));
  cell(row, plan.actions.map((a) => `${a.name} (${a.state})`).join('\n')).style.whiteSpace = 'pre-line';
  cell(row, plan.reason);
}

// An element that holds text.
function element(parent, name, content, className) {
  const node = parent.appendChild(document.createElement(name));
  node.textContent = content ?? '';
  if (className) node.className = className;
  return node;
}

// A step of a plan: what it would do to its target, as the server's dry run said.
function drawStep(list, action) {
  const item = list.appendChild(document.createElement('li'));
  const preview = action.preview ?? {};
  element(item, 'p', `${action.name}: ${preview.summary ?? JSON.stringify(action.args)}`);
  if (preview.current || preview.proposed) {
    element(item, 'p', `${preview.current ?? '?'} → ${preview.proposed ?? '?'}`);
  }
  for (const warning of preview.warnings ?? []) element(item, 'p', `⚠ ${warning}`, 'pending');
  if (preview.diff) element(item, 'pre', preview.diff);
}

function approvalsText({ given, needed, group }) {
  return `${given} of ${needed} approvals${group ? `, of ${group}` : ''}`;
}

// A plan that waits, whole: what is shown here is what the decision is about.
function drawPending(parent, plan) {
  const box = element(parent, 'article', '', 'plan');
  element(box, 'h3', `${plan.playbook} (${plan.id})`);
  element(box, 'p', `${approvalsText(plan.approvals)} · trust ${plan.trust} · expires ${timeText(plan.expires_at)}`);
  if (plan.incident_id) element(box, 'p', `incident ${plan.incident_id}`);
  const steps = box.appendChild(document.createElement('ol'));
  for (const action of plan.actions) drawStep(steps, action);
  for (const d of plan.decisions) {
    element(box, 'p', `${d.decision} by ${d.who} (${d.via}) at ${timeText(d.at)}${d.reason ? `: ${d.reason}` : ''}`);
  }
  element(box, 'p', plan.digest, 'empty');
  const buttons = element(box, 'p', '', 'buttons');
  element(buttons, 'button', 'Approve…', 'approve').addEventListener('click', () => ask('approve', plan));
  element(buttons, 'button', 'Reject…', 'reject').addEventListener('click', () => ask('reject', plan));
}

function drawApprovals(plans) {
  const list = document.createDocumentFragment();
  for (const plan of plans) drawPending(list, plan);
  byId('pending').replaceChildren(list);
  byId('approvals').hidden = plans.length === 0;
}

// Asks once more, and for a reason; the decision is about the plan as it was shown when it was asked.
function ask(verb, plan) {
  const yes = verb === 'approve' ? 'Approve' : 'Reject';
  byId('decision-title').textContent = `${yes} ${plan.playbook}?`;
  byId('decision-what').textContent = plan.actions
    .map((a, i) => `${i + 1}. ${a.preview?.summary ?? a.name}`).join('\n');
  byId('decision-reason').value = '';
  byId('decision-error').textContent = '';
  byId('decision-yes').textContent = yes;
  byId('decision-yes').className = verb;
  byId('decision-yes').onclick = async () => {
    try {
      await send(`/api/v1/plans/${encodeURIComponent(plan.id)}/${verb}`,
        { digest: plan.digest, reason: byId('decision-reason').value.trim() || undefined });
      byId('decision').close();
    } catch (error) {
      byId('decision-error').textContent = error.message;
    }
    refresh();
  };
  byId('decision').showModal();
}

function daysText(forecast) {
  const days = forecast.days_until_threshold;
  if (typeof days !== 'number' || typeof forecast.threshold !== 'number') return '';
  return days < 0 ? 'never' : days.toFixed(1);
}

function drawForecast(row, forecast) {
  const state = forecast.condition === 'ok' || forecast.condition === 'anomaly' ? forecast.state : forecast.condition;
  cell(row, state, `state ${state}`);
  cell(row, forecast.name);
  cell(row, labelsText(forecast.labels));
  cell(row, numberText(forecast.current_value));
  cell(row, daysText(forecast));
  cell(row, forecast.recommendation);
}

function drawSeries(row, { signal, series }) {
  cell(row, series?.state ?? signal.condition, `state ${series?.state ?? signal.condition}`);
  cell(row, signal.name);
  cell(row, labelsText(series?.labels));
  cell(row, numberText(series?.value));
  cell(row, numberText(series?.anomaly_score));
  cell(row, series?.reason ?? signal.error);
}

async function call(path, options, headers) {
  const token = sessionStorage.getItem(tokenKey);
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401 || response.status === 403) byId('login').hidden = false;
  const answer = await response.json();
  if (answer.status !== 'success') throw new Error(answer.error);
  return answer.data;
}

const get = (path) => call(path, {}, {});
const send = (path, body) =>
  call(path, { method: 'POST', body: JSON.stringify(body) }, { 'Content-Type': 'application/json' });

async function refresh() {
  try {
    const [status, signals, incidents, plans, forecasts, approvals] = await Promise.all(
      ['status', 'signals', 'incidents?limit=50', 'plans?limit=50', 'forecasts', 'approvals?limit=50'].map((path) => get(`/api/v1/${path}`)));
    const notes = [`version ${status.version}`, `${status.signals} signals`];
    if (status.dry_run) notes.push('dry run');
    if (status.kill_switch) notes.push(`kill switch on: ${status.kill_switch}`);
    if (status.last_reload.outcome === 'failed') notes.push('the last reload failed');
    byId('status').textContent = notes.join(' · ');
    fill('incidents', incidents, drawIncident);
    fill('plans', plans, drawPlan);
    drawApprovals(approvals);
    byId('capacity').hidden = forecasts.length === 0;
    fill('forecasts', forecasts, drawForecast);
    const series = signals.flatMap((signal) =>
      signal.series.length ? signal.series.map((s) => ({ signal, series: s })) : [{ signal }]);
    fill('signals', series, drawSeries);
    byId('login').hidden = true;
  } catch (error) {
    byId('status').textContent = `no answer: ${error.message}`;
  }
}

byId('decision-no').addEventListener('click', () => byId('decision').close());
byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(tokenKey, byId('token').value.trim());
  refresh();
});
refresh();
setInterval(refresh, 5000);
