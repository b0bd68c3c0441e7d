// Starts the built server for a test file and stops it the way an operator would.
//
// Promises: each call starts a process of its own with free ports and an empty data directory; `stop` proves that
// SIGTERM ends it with status 0 in time. The process never outlives the test process.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Journal, within } from './waiting.mjs';

export const ACCOUNT_ID = '123456789012';
export const REGION = 'us-west-2';
export const CREDENTIALS = { accessKeyId: 'AKIDCONFORMANCE', secretAccessKey: 'conformance-secret-of-no-value' };

const READY_MS_MAX = 20_000;
/** The run contract: SIGTERM drains and exits 0 within 10 s. */
const STOP_MS_MAX = 10_000;
/** How much of the server's log a failing test shows, in characters. */
const LOG_LENGTH_MAX = 8_000;

const repositoryRoot = fileURLToPath(new URL('../../', import.meta.url));
export const builtBinary = process.env.GRANDSTAND_BIN ?? join(repositoryRoot, 'target', 'debug', 'grandstand');

/**
 * Starts a server; `settings` are environment variables on top of the defaults. `supervisor` is a command that starts the
 * server, and `binary` the server.
 */
export async function startServer(settings = {}, { binary = builtBinary, supervisor = [] } = {}) {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'grandstand-js-'));
  const free = '127.0.0.1:0';
  const flags = ['--api-addr', free, '--edge-addr', free, '--admin-addr', free, '--data-dir', dataDirectory];
  const [program, ...words] = [...supervisor, binary, 'serve', ...flags];
  const child = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      GRANDSTAND_ROOT_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      GRANDSTAND_ROOT_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      ...settings,
    },
  });
  /** The process that serves now: perhaps one that took over from the child. It says so in its data directory. */
  const processId = () => Number(readFileSync(join(dataDirectory, 'lock'), 'utf8'));
  const kill = () => {
    child.kill('SIGKILL');
    try {
      process.kill(processId(), 'SIGKILL');
    } catch {
      // It has ended, or never began.
    }
  };
  process.once('exit', kill);
  const exited = once(child, 'exit');
  /** When the child has ended, and all processes that have taken over. */
  const closed = once(child, 'close');

  let log = '';
  child.stderr.setEncoding('utf8');
  child.stderr.on('data', (text) => {
    log = (log + text).slice(-LOG_LENGTH_MAX);
  });
  const announcements = listenTo(child);
  const announcement = announcements.first('ready', () => true, READY_MS_MAX);
  const ready = await Promise.race([announcement, failure(exited, () => log)]);

  /** Another process takes over. Returns when it is ready; the one before may still close connections. */
  async function handOver() {
    const count = announcements.all('ready').length;
    process.kill(processId(), 'SIGUSR2');
    await announcements.atLeast(count + 1, 'ready', READY_MS_MAX);
  }

  /** SIGKILL for the process that serves; its supervisor starts the next one. Returns when that is ready. */
  async function kill9() {
    const count = announcements.all('ready').length;
    process.kill(processId(), 'SIGKILL');
    await announcements.atLeast(count + 1, 'ready', READY_MS_MAX);
  }

  async function stop() {
    if (child.exitCode === null) child.kill('SIGTERM');
    else process.kill(processId(), 'SIGTERM');
    try {
      const [code, signal] = await within(STOP_MS_MAX, 'the server to stop after SIGTERM', closed);
      if (code !== 0) throw new Error(`the server ended with ${code ?? signal} after SIGTERM; its log:\n${log}`);
    } finally {
      kill();
      process.removeListener('exit', kill);
      await rm(dataDirectory, { recursive: true, force: true });
    }
  }

  return { api: ready.api, edge: ready.edge, admin: ready.admin, handOver, kill9, stop, log: () => log };
}

/** What the processes announce on standard output. Reads on for ever, so that none can block on a full pipe. */
function listenTo(child) {
  const announcements = new Journal();
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.startsWith('{')) return;
    const announcement = JSON.parse(line);
    announcements.record(announcement.event, announcement);
  });
  return announcements;
}

async function failure(exited, log) {
  const [code, signal] = await exited;
  throw new Error(`the server ended with ${code ?? signal} before it was ready; its log:\n${log()}`);
}
