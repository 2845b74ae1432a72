// An app as Slack's users write them, on the official framework: posts a message with a button, and
// when it is pressed acknowledges and updates the message. `node slack_bolt.js API_URL socket|http`
// says what it does, one line each, and goes on until it is ended.
'use strict';
const { App, HTTPReceiver, LogLevel, SocketModeReceiver } = require('@slack/bolt');

const [api_url, mode] = process.argv.slice(2);
const clientOptions = { slackApiUrl: `${api_url}/` };

const receiver = mode === 'socket'
  ? new SocketModeReceiver({ appToken: 'xapp-of-the-app', logLevel: LogLevel.ERROR, installerOptions: { clientOptions } })
  : new HTTPReceiver({ signingSecret: 'of-the-signature', endpoints: '/slack/interactions', logLevel: LogLevel.ERROR });
const app = new App({ token: 'xoxb-of-the-bot', receiver, clientOptions, logLevel: LogLevel.ERROR });

app.action('approve_remediation', async ({ ack, body, action, client }) => {
  await ack();
  await client.chat.update({ channel: body.channel.id, ts: body.message.ts, text: `approved by ${body.user.id}`, blocks: [] });
  console.log(`clicked ${body.user.id} ${action.value}`);
});

(async () => {
  const server = await app.start(0);
  const posted = await app.client.chat.postMessage({ channel: '#incident-response', text: 'Scale?', blocks: [
    { type: 'section', text: { type: 'mrkdwn', text: 'Scale?' } },
    { type: 'actions', elements: [{ type: 'button', action_id: 'approve_remediation', value: 'v1:x', style: 'primary', text: { type: 'plain_text', text: 'Approve' } }] },
  ] });
  console.log(`posted ${posted.channel} ${posted.ts}`);
  const refused = await app.client.chat.postMessage({ channel: '#incident-response', text: 'x', blocks: [
    { type: 'section', text: { type: 'mrkdwn', text: 'x'.repeat(3001) } }] }).catch((e) => e.data.error);
  console.log(`refused ${refused}`);
  console.log(`listening ${mode === 'http' ? server.address().port : 0}`);
})();
