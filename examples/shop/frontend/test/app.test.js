'use strict';

const assert = require('node:assert');
const http = require('node:http');
const test = require('node:test');

const { createServer } = require('../app.js');

function listen(server) {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

/** Starts the frontend in front of a backend that answers with what it was asked. */
async function withShop(t, fn) {
  const echo = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) {
      body += chunk;
    }
    response.writeHead(201, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ method: request.method, url: request.url, body }));
  });
  const shop = createServer(await listen(echo));
  const url = await listen(shop);
  t.after(() => {
    for (const server of [shop, echo]) {
      server.close();
      server.closeAllConnections();
    }
  });
  await fn(url, echo);
}

// fetch() tidies paths up before it sends them; this sends them as they are.
function status(url, path) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    http.get({ hostname, port, path, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    }).on('error', reject);
  });
}

test('serves the page and its parts', (t) =>
  withShop(t, async (url) => {
    for (const [path, type] of [['/', 'text/html'], ['/style.css', 'text/css'], ['/shop.js', 'text/javascript']]) {
      const answer = await fetch(url + path);
      assert.strictEqual(answer.status, 200, path);
      assert.ok(answer.headers.get('content-type').startsWith(type), path);
      assert.ok((await answer.text()).length > 100, path);
    }
  }));

test('serves nothing outside public/', (t) =>
  withShop(t, async (url) => {
    for (const path of ['/../app.js', '/%2e%2e/app.js', '/..%2fapp.js', '/package.json', '/%', '/nope.html']) {
      assert.ok([400, 404].includes(await status(url, path)), path);
    }
  }));

test('passes /api on to the backend, body and status too', (t) =>
  withShop(t, async (url) => {
    const answer = await fetch(url + '/api/carts?x=1', { method: 'PUT', body: '{"quantity":1}' });
    assert.strictEqual(answer.status, 201);
    assert.deepStrictEqual(await answer.json(), { method: 'PUT', url: '/api/carts?x=1', body: '{"quantity":1}' });
  }));

test('says so when the backend is down', (t) =>
  withShop(t, async (url, backend) => {
    backend.closeAllConnections();
    await new Promise((resolve) => backend.close(resolve));
    const answer = await fetch(url + '/api/products');
    assert.strictEqual(answer.status, 502);
    assert.match((await answer.json()).error, /does not answer/);
  }));
