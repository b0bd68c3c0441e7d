// The official chat messaging SDK, unmodified, in Node: a crowd that is in a room while its server is restarted,
// upgraded, or killed while somebody keeps its sockets open. Nobody gives up, and nobody needs a second try.
//
// GRANDSTAND_RESTART_CLIENTS sets the size of the crowd.

import assert from 'node:assert/strict';
import { appendFile, copyFile, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe } from 'node:test';
import { fileURLToPath } from 'node:url';

import { SendMessageRequest } from 'amazon-ivs-chat-messaging';

import { createRoom, createToken, startStage } from './control.mjs';
import { participant } from './participant.mjs';
import { suite } from './results.mjs';
import { builtBinary } from './server.mjs';

const check = suite({ name: 'js-messaging', file: import.meta.url, client: 'amazon-ivs-chat-messaging' });

const CROWD = Number(process.env.GRANDSTAND_RESTART_CLIENTS ?? 200);
/** One in so many asks for a new token when it comes back, as applications do; the others have one from before. */
const ASKING = 10;
/** Only a broken server takes as long. */
const BACK_MS_MAX = 60_000;
const TOKENS_AT_ONCE = 50;

const succession = fileURLToPath(new URL('../succession.py', import.meta.url));

/** A crowd in a room, each of whom has been told so. */
async function gather({ server, client }) {
  const room = await createRoom(client);
  const tokens = [];
  while (tokens.length < CROWD * 2) {
    const userId = (index) => `user-${Math.floor((tokens.length + index) / 2)}`;
    const some = Array.from({ length: TOKENS_AT_ONCE }, (_, index) => createToken(client, room, userId(index)));
    tokens.push(...(await Promise.all(some)));
  }
  const crowd = Array.from({ length: CROWD }, (_, index) => {
    const kept = tokens.slice(index * 2, index * 2 + 2);
    const nextToken = (attempt, mint) => (attempt > 1 && index % ASKING === 0 ? mint() : (kept[attempt - 1] ?? mint()));
    return participant({ client, edge: server.edge, room, userId: `user-${index}`, nextToken });
  });
  for (const { chat } of crowd) chat.connect();
  for (const { journal } of crowd) await journal.first('connect', () => true, BACK_MS_MAX);
  return crowd;
}

/** All come back, at their first try, and hear each other again. */
async function checkIsBack(crowd, context, interrupted) {
  const began = Date.now();
  await interrupted();
  for (const { journal } of crowd) await journal.atLeast(2, 'connect', BACK_MS_MAX);
  context.diagnostic(`${crowd.length} clients were back after ${Date.now() - began} ms`);
  for (const { journal, userId } of crowd) {
    assert.deepEqual(journal.all('disconnect'), [], `${userId} has given up`);
    assert.equal(journal.all('token').length, 2, `${userId} has tried more than once`);
  }
  const writer = crowd[Math.floor(crowd.length / 2)];
  const message = await writer.chat.sendMessage(new SendMessageRequest('here we are'));
  for (const { journal } of crowd)
    assert.deepEqual(await journal.first('message', ({ content }) => content === 'here we are'), message);
  for (const { chat } of crowd) chat.disconnect();
  for (const { journal } of crowd) await journal.first('disconnect');
}

describe('a crowd is back', () => {
  check('after a restart and an upgrade', ['CreateChatToken', 'SEND_MESSAGE', 'frame:MESSAGE'], async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'grandstand-binary-'));
    after(() => rm(folder, { recursive: true, force: true }));
    const binary = join(folder, 'grandstand');
    await copyFile(builtBinary, binary);
    const stage = await startStage({}, { binary });
    await checkIsBack(await gather(stage), context, stage.server.handOver);

    await copyFile(builtBinary, `${binary}.new`);
    await appendFile(`${binary}.new`, 'another version');
    await rename(`${binary}.new`, binary);
    await checkIsBack(await gather(stage), context, stage.server.handOver);
  });

  check(
    'after kill -9 while somebody keeps the sockets open',
    ['CreateChatToken', 'SEND_MESSAGE', 'frame:MESSAGE'],
    async (context) => {
      const stage = await startStage({}, { supervisor: ['python3', succession] });
      await checkIsBack(await gather(stage), context, stage.server.kill9);
    },
  );
});
