// A real PostgreSQL of the tests' own (see `../postgres.sh`), which a test may stop and start again. It ends with this
// process, however that ends.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { within } from './waiting.mjs';

const COMMAND_MS_MAX = 120_000;

/** Starts one; `url` is what a server needs as `store.url`. */
export async function startDatabase() {
  const script = fileURLToPath(new URL('../postgres.sh', import.meta.url));
  const child = spawn(script, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (what) => {
    const { value } = await within(COMMAND_MS_MAX, what, lines.next());
    if (!value) throw new Error('no database for the tests: what is missing stands above');
    return value;
  };
  const [, port] = (await nextLine('the database')).split(' ');

  /** `stop`, `kill` or `start`; returns when it is done. */
  async function command(word) {
    child.stdin.write(`${word}\n`);
    if ((await nextLine(word)) !== word) throw new Error(`the database did not ${word}`);
  }

  return {
    url: `postgres://grandstand:conformance@127.0.0.1:${port}/grandstand`,
    command,
    end: () => child.stdin.end(),
  };
}
