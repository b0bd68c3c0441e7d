// Tests whose outcome is also written down for the matrix of clients and operations.
//
// One line of JSON per test is appended to `.test-results/<suite>.jsonl` at the repository root. A test that never
// ends is written down as failed, too.

import { appendFileSync, mkdirSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { within } from './waiting.mjs';

const TEST_MS_MAX = 120_000;
const resultsDirectory = fileURLToPath(new URL('../../.test-results/', import.meta.url));

/**
 * A function `check(name, covers, body)` that registers tests of one file and one client.
 *
 * `covers` names the operations, socket actions and frame types that the test would catch if they broke.
 */
export function suite({ name: suiteName, file, client }) {
  const fileName = basename(fileURLToPath(file));
  mkdirSync(resultsDirectory, { recursive: true });

  return function check(name, covers, body) {
    return test(name, async (context) => {
      let outcome = 'failed';
      try {
        await within(TEST_MS_MAX, `the end of "${name}"`, body(context));
        outcome = 'passed';
      } finally {
        const line = JSON.stringify({ suite: suiteName, test: `${fileName}::${name}`, outcome, client, covers });
        appendFileSync(`${resultsDirectory}${suiteName}.jsonl`, `${line}\n`);
      }
    });
  };
}
