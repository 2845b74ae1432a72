// The first page: what is odd, what came of it, what is planned. It only reads.
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

async function get(path) {
  const token = sessionStorage.getItem(tokenKey);
  const response = await fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (response.status === 401 || response.status === 403) byId('login').hidden = false;
  const answer = await response.json();
  if (answer.status !== 'success') throw new Error(answer.error);
  return answer.data;
}

async function refresh() {
  try {
    const [status, signals, incidents, plans, forecasts] = await Promise.all(
      ['status', 'signals', 'incidents?limit=50', 'plans?limit=50', 'forecasts'].map((path) => get(`/api/v1/${path}`)));
    const notes = [`version ${status.version}`, `${status.signals} signals`];
    if (status.dry_run) notes.push('dry run');
    if (status.kill_switch) notes.push(`kill switch on: ${status.kill_switch}`);
    if (status.last_reload.outcome === 'failed') notes.push('the last reload failed');
    byId('status').textContent = notes.join(' · ');
    fill('incidents', incidents, drawIncident);
    fill('plans', plans, drawPlan);
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

byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(tokenKey, byId('token').value.trim());
  refresh();
});
refresh();
setInterval(refresh, 5000);
