// tls_front.js PORT KEY CERT CA: HTTPS in front of a server on PORT of 127.0.0.1, as an API server
// has it: HTTP/2 is offered, client certificates of the authority are taken and name the user, by
// the header X-Remote-User. Prints its port.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');

const [port, key, cert, ca] = process.argv.slice(2);
const options = { key: fs.readFileSync(key), cert: fs.readFileSync(cert), ca: fs.readFileSync(ca), allowHTTP1: true,
  requestCert: true, rejectUnauthorized: false };

const server = http2.createSecureServer(options, (request, response) => {
  const headers = { ...request.headers };
  delete headers['x-remote-user'];
  for (const name of Object.keys(headers)) if (name.startsWith(':')) delete headers[name];
  const { subject } = request.socket.getPeerCertificate(); // none in a resumed session without one
  if (request.socket.authorized && subject) headers['x-remote-user'] = subject.CN;
  const onward = http.request({ host: '127.0.0.1', port, agent: false, method: request.method, path: request.url, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
    answer.on('error', () => request.socket.destroy());
  });
  // Over HTTP/2 a request that fails is a stream's end, and the connection stays.
  onward.on('error', () => request.stream ? request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR) : request.socket.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
});
server.on('secureConnection', (socket) => socket.on('error', () => {}));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
