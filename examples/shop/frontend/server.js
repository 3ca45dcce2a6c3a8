// Entry point: `PORT=9000 VITE_BACKEND_URL=http://127.0.0.1:8000 node server.js`.
'use strict';

const { createServer } = require('./app.js');

const host = process.env.HOST || '127.0.0.1';
const port = Number(process.env.PORT || 9000);
const backend = process.env.VITE_BACKEND_URL || 'http://127.0.0.1:8000';

const server = createServer(backend);

server.on('error', (err) => {
  console.error(err.message);
  process.exit(1);
});

server.listen(port, host, () => {
  console.log(`shop page on http://${host}:${server.address().port}, API at ${backend}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    console.log(`${signal}: stopping`);
    server.close(() => process.exit(0));
    // Browsers keep connections open; without this, close() would wait for them.
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 500).unref();
  });
}
