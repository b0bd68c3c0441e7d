// The official chat messaging SDK, unmodified, in Node, while the database of its server is away: nobody is lost.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { SendMessageRequest } from 'amazon-ivs-chat-messaging';

import { createRoom, startStage } from './control.mjs';
import { joined, participant } from './participant.mjs';
import { startDatabase } from './postgres.mjs';
import { suite } from './results.mjs';
import { eventually } from './waiting.mjs';

const check = suite({ name: 'js-postgres', file: import.meta.url, client: 'amazon-ivs-chat-messaging' });
const database = await startDatabase();
after(() => database.end());
const { server, client } = await startStage({ GRANDSTAND_STORE_URL: database.url });

/** The SDK renews such a token after three seconds: it does so 30 s before the end of one so short-lived. */
const REFRESH_SOON_MS = 33_000;

check(
  'nobody is lost while the database is away, not even who must renew a token meanwhile',
  ['CreateChatToken', 'SEND_MESSAGE', 'frame:MESSAGE'],
  async () => {
    const room = await createRoom(client);
    const base = (userId) => ({ client, edge: server.edge, room, userId });
    let renewals = 0;
    const renewing = async (attempt, mint) => {
      if (attempt > 1) renewals += 1;
      const token = await mint();
      return attempt > 1 ? token : { ...token, tokenExpirationTime: new Date(Date.now() + REFRESH_SOON_MS) };
    };
    const writer = await joined(base('writer'));
    const renewers = await Promise.all(['r1', 'r2'].map((userId) => joined({ ...base(userId), nextToken: renewing })));
    await database.command('stop');
    await eventually('both to ask for a new token', () => renewals === 2);
    await writer.chat.sendMessage(new SendMessageRequest('chat goes on'));
    const newcomer = participant(base('newcomer'));
    newcomer.chat.connect();
    await database.command('start');
    await newcomer.journal.first('connect');
    const hasRenewed = ({ sockets }) => sockets().length === 2 && sockets()[0].readyState === WebSocket.CLOSED;
    await eventually('the change-over', () => renewers.every(hasRenewed));
    await writer.chat.sendMessage(new SendMessageRequest('and all are here'));
    for (const { journal } of renewers) {
      await journal.first('message', ({ content }) => content === 'and all are here');
      assert.deepEqual(
        journal.all('message').map(({ content }) => content),
        ['chat goes on', 'and all are here'],
      );
      assert.equal(journal.all('connect').length, 1, 'the application does not notice');
      assert.deepEqual(journal.all('disconnect'), []);
    }
    await newcomer.journal.first('message', ({ content }) => content === 'and all are here');
    assert.deepEqual(newcomer.journal.all('disconnect'), []);
  },
);
