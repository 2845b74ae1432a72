// A WebSocket server that says back what it is told. `node websocket_server.js [CERT KEY]` prints
// its port; with a certificate it speaks TLS, and offers HTTP/2 as well.
'use strict';
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const { WebSocketServer } = require('ws');

const [cert, key] = process.argv.slice(2);
const server = cert
  ? http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: true })
  : http.createServer();
const wss = new WebSocketServer({ server });
let held; // the connection that is not read from until another one says "release"
wss.on('connection', (ws, request) => {
  ws.on('message', (data, isBinary) => {
    const text = String(data);
    if (text === 'close') ws.close(4001, 'as asked');
    else if (text === 'cut') ws.terminate();
    else if (text === 'binary') ws.send(Buffer.from([1, 255]));
    else if (text === 'alpn') ws.send(String(request.socket.alpnProtocol));
    else if (text === 'hold') (held = ws).pause();
    else if (text === 'release') held.resume();
    else if (text.startsWith('many ')) for (let i = 1; i <= Number(text.slice(5)); i++) ws.send(String(i));
    else ws.send(data, { binary: isBinary });
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
