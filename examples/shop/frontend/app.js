// The frontend's request handler: files from public/, and /api passed on to the backend.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const PUBLIC = path.join(__dirname, 'public');
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

function sendText(response, status, text) {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(text + '\n');
}

function sendFile(response, pathname) {
  let name;
  try {
    name = path.normalize(decodeURIComponent(pathname));
  } catch {
    return sendText(response, 400, 'bad path');
  }
  const file = path.join(PUBLIC, name === '/' ? 'index.html' : name);
  const type = TYPES[path.extname(file)];
  if (!type || !file.startsWith(PUBLIC + path.sep)) {
    return sendText(response, 404, 'not found');
  }
  fs.readFile(file, (err, data) => {
    if (err) {
      return sendText(response, 404, 'not found');
    }
    response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-cache' });
    response.end(data);
  });
}

function passOn(request, response, backend) {
  const target = new URL(request.url, backend);
  const options = {
    method: request.method,
    headers: { ...request.headers, host: target.host },
    // "localhost" may mean ::1 first; the backend may listen on 127.0.0.1 alone. Node 20 tries both by itself, 18 is told to.
    autoSelectFamily: true,
  };
  const outgoing = http.request(target, options, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  outgoing.on('error', (err) => {
    if (response.headersSent) {
      return response.destroy();
    }
    response.writeHead(502, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ error: `the backend at ${backend} does not answer (${err.code})` }) + '\n');
  });
  request.pipe(outgoing);
}

/** @param {string} backend URL of the API, such as http://127.0.0.1:8000 */
function createServer(backend) {
  return http.createServer((request, response) => {
    const pathname = request.url.split('?', 1)[0];
    if (pathname.startsWith('/api/')) {
      return passOn(request, response, backend);
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return sendText(response, 405, 'only GET');
    }
    if (pathname === '/healthz') {
      return sendText(response, 200, 'ok');
    }
    sendFile(response, pathname);
  });
}

module.exports = { createServer };
