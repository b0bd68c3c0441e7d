// Serves the test page and the unmodified SDK modules on loopback, and hands tokens to the page.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
/** Address prefixes and the folders behind them. */
const FOLDERS = {
  '/page/': join(here, 'page'),
  '/sdk/': join(here, 'node_modules', 'amazon-ivs-chat-messaging', 'dist', 'esm'),
  '/uuid/': join(here, 'node_modules', 'uuid', 'dist', 'esm-browser'),
};
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8' };

/** A page server; `mintToken(userId)` is asked for every token that the page wants. */
export async function startPageServer(mintToken) {
  const server = createServer((request, response) => {
    answer(request, mintToken).then(
      ({ type, body }) => response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(body),
      () => response.writeHead(404).end(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  async function stop() {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }

  return { url: `http://127.0.0.1:${server.address().port}`, stop };
}

async function answer({ method, url }, mintToken) {
  const { pathname } = new URL(url, 'http://page');
  if (method === 'POST' && pathname.startsWith('/tokens/')) {
    const token = await mintToken(decodeURIComponent(pathname.slice('/tokens/'.length)));
    return { type: 'application/json', body: JSON.stringify(token) };
  }
  const path = pathname === '/' ? '/page/index.html' : normalize(pathname);
  const prefix = Object.keys(FOLDERS).find((candidate) => path.startsWith(candidate));
  const body = await readFile(join(FOLDERS[prefix], path.slice(prefix.length)));
  return { type: TYPES[path.split('.').pop()], body };
}
