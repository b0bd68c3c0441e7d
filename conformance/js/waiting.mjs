// Waiting for events, always with a deadline and never for a fixed time.

import { setTimeout as pause } from 'node:timers/promises';

/** How long a test waits for one thing to happen, unless it says otherwise. */
export const DEADLINE_MS = 30_000;
/** How often a condition that announces itself by no event is looked at. */
const POLL_MS = 20;

/** The value of `promise`, or an error that says what did not happen in time. */
export async function within(limitMs, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${limitMs} ms in vain for ${what}`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The first truthy result of `attempt`, which is repeated until then. */
export async function eventually(what, attempt, limitMs = DEADLINE_MS) {
  const end = Date.now() + limitMs;
  while (Date.now() < end) {
    const result = await attempt();
    if (result) return result;
    await pause(POLL_MS);
  }
  throw new Error(`waited ${limitMs} ms in vain for ${what}`);
}

/** What happened to a client, in order; tests look at the past and wait for the future with the same call. */
export class Journal {
  entries = [];
  #waiters = new Set();

  record(kind, value) {
    this.entries.push({ kind, value });
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** The values of all entries of a kind. */
  all(kind) {
    return this.entries.filter((entry) => entry.kind === kind).map((entry) => entry.value);
  }

  /** The first value of a kind that matches, whether it is there already or still to come. */
  async first(kind, matches = () => true, limitMs = DEADLINE_MS) {
    const found = await this.#until(
      () => this.entries.find((entry) => entry.kind === kind && matches(entry.value)),
      kind,
      limitMs,
    );
    return found.value;
  }

  /** All values of a kind, as soon as there are at least `count`. */
  async atLeast(count, kind, limitMs = DEADLINE_MS) {
    return this.#until(() => this.all(kind).length >= count && this.all(kind), `${count} × ${kind}`, limitMs);
  }

  async #until(look, what, limitMs) {
    let waiter;
    const happened = new Promise((resolve) => {
      waiter = () => {
        const found = look();
        if (found) resolve(found);
      };
      this.#waiters.add(waiter);
      waiter();
    });
    try {
      return await within(limitMs, what, happened);
    } catch (error) {
      error.message += `; so far: ${JSON.stringify(this.entries.slice(-10))}`;
      throw error;
    } finally {
      this.#waiters.delete(waiter);
    }
  }
}
