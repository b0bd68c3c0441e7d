// Starts the built server for a test file and stops it the way an operator would.
//
// Promises: each call starts a process of its own with free ports and an empty data directory; `stop` proves that
// SIGTERM ends it with status 0 in time. The process never outlives the test process.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { within } from './waiting.mjs';

export const ACCOUNT_ID = '123456789012';
export const REGION = 'us-west-2';
export const CREDENTIALS = { accessKeyId: 'AKIDCONFORMANCE', secretAccessKey: 'conformance-secret-of-no-value' };

const READY_MS_MAX = 20_000;
/** The run contract: SIGTERM drains and exits 0 within 10 s. */
const STOP_MS_MAX = 10_000;
/** How much of the server's log a failing test shows, in characters. */
const LOG_LENGTH_MAX = 8_000;

const repositoryRoot = fileURLToPath(new URL('../../', import.meta.url));
const binary = process.env.GRANDSTAND_BIN ?? join(repositoryRoot, 'target', 'debug', 'grandstand');

/** Starts a server; `settings` are environment variables on top of the defaults. */
export async function startServer(settings = {}) {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'grandstand-js-'));
  const free = '127.0.0.1:0';
  const flags = ['--api-addr', free, '--edge-addr', free, '--admin-addr', free, '--data-dir', dataDirectory];
  const child = spawn(binary, ['serve', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      GRANDSTAND_ROOT_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      GRANDSTAND_ROOT_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      ...settings,
    },
  });
  const killWithUs = () => child.kill('SIGKILL');
  process.once('exit', killWithUs);
  const exited = once(child, 'exit');

  let log = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text) => {
    log = (log + text).slice(-LOG_LENGTH_MAX);
  });

  const ready = await within(
    READY_MS_MAX,
    'the ready line',
    Promise.race([readyLine(child), failure(exited, () => log)]),
  );

  async function stop() {
    child.kill('SIGTERM');
    try {
      const [code, signal] = await within(STOP_MS_MAX, 'the server to stop after SIGTERM', exited);
      if (code !== 0) throw new Error(`the server ended with ${code ?? signal} after SIGTERM; its log:\n${log}`);
    } finally {
      child.kill('SIGKILL');
      process.removeListener('exit', killWithUs);
      await rm(dataDirectory, { recursive: true, force: true });
    }
  }

  return { api: ready.api, edge: ready.edge, admin: ready.admin, stop, log: () => log };
}

/** Keeps reading after the line it waits for, so that the server can never block on a full pipe. */
function readyLine(child) {
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return;
      try {
        const announcement = JSON.parse(line);
        if (announcement.event === 'ready') resolve(announcement);
      } catch (error) {
        reject(error);
      }
    });
  });
}

async function failure(exited, log) {
  const [code, signal] = await exited;
  throw new Error(`the server ended with ${code ?? signal} before it was ready; its log:\n${log()}`);
}
