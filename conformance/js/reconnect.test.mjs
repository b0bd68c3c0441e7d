// The official chat messaging SDK, unmodified, in Node: connections that end, are refused, or are renewed.
//
// The rooms of the tests are independent of each other, so all tests run at the same time.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe } from 'node:test';

import { SendMessageRequest } from 'amazon-ivs-chat-messaging';

import { createRoom, createToken, startStage } from './control.mjs';
import { joined, participant } from './participant.mjs';
import { startProxy } from './proxy.mjs';
import { suite } from './results.mjs';
import { eventually } from './waiting.mjs';

const check = suite({ name: 'js-messaging', file: import.meta.url, client: 'amazon-ivs-chat-messaging' });
const { server, client } = await startStage();

/**
 * A token that the SDK renews after three seconds: it does so 30 s before the end of a token this short-lived. Sooner
 * would be unfair: half a second after a renewal the SDK forgets what it has seen, and would show things twice.
 */
const REFRESH_SOON_MS = 33_000;
/** A session is at least a minute long; then come a grace period and the new connection. */
const SESSION_END_MS_MAX = 75_000;

/** Between two requests of a user who may make ten a second. */
const SENDING_PAUSE_MS = 150;

const base = (room, userId) => ({ client, edge: server.edge, room, userId });

/** Tokens that make the SDK rotate `rotations` times. */
function rotating(rotations) {
  return async (attempt, mint) => {
    const token = await mint();
    if (attempt > rotations) return token;
    return { ...token, tokenExpirationTime: new Date(Date.now() + REFRESH_SOON_MS) };
  };
}

describe('connections are renewed', { concurrency: true }, () => {
  check(
    'no message is lost or doubled while tokens rotate',
    ['CreateChatToken', 'SEND_MESSAGE', 'frame:MESSAGE'],
    async () => {
      const rotations = 3;
      const room = await createRoom(client);
      const writers = await Promise.all(['w1', 'w2'].map((userId) => joined(base(room, userId))));
      const rotators = await Promise.all(
        ['r1', 'r2', 'r3', 'r4'].map((userId) => joined({ ...base(room, userId), nextToken: rotating(rotations) })),
      );
      const rotated = ({ sockets }) =>
        sockets().length === rotations + 1 &&
        sockets()
          .slice(0, -1)
          .every(({ readyState }) => readyState === WebSocket.CLOSED);

      let written = 0;
      while (!rotators.every(rotated)) {
        await Promise.all(
          writers.map(async ({ chat }) => {
            const text = `message ${(written += 1)}`;
            // A writer alone would be over ten a second; the refusals are as good as a pause.
            await eventually('the rate to allow it', () =>
              chat.sendMessage(new SendMessageRequest(text)).then(
                () => true,
                () => false,
              ),
            );
          }),
        );
      }
      for (const [index, { chat }] of rotators.entries())
        await chat.sendMessage(new SendMessageRequest(`rotated ${index}`));

      const last = `rotated ${rotators.length - 1}`;
      const isLast = ({ content }) => content === last;
      for (const { journal } of [...writers, ...rotators]) await journal.first('message', isLast);
      const ids = ({ journal }) => journal.all('message').map(({ id }) => id);
      const truth = ids(writers[0]);
      assert.equal(truth.length, written + rotators.length);
      assert.equal(new Set(truth).size, truth.length);
      for (const member of rotators) {
        assert.deepEqual(ids(member), truth);
        assert.equal(member.journal.all('connect').length, 1, 'the application does not notice');
        assert.deepEqual(member.journal.all('disconnect'), []);
      }
    },
  );

  check('a sender’s own requests are answered across a rotation', ['SEND_MESSAGE', 'frame:MESSAGE'], async () => {
    const ann = await joined({ ...base(await createRoom(client), 'ann'), nextToken: rotating(1) });
    const isSent = (content) => ann.chat.sendMessage(new SendMessageRequest(content)).then(() => true);
    // No faster than allowed: the ERROR of a refused request is for the old connection alone, and when that is on its
    // way as the SDK changes over, the SDK does not hear it and waits forever.
    const answers = [];
    for (let next = Date.now(); ann.sockets().length < 2; next += SENDING_PAUSE_MS) {
      await eventually('the next request', () => Date.now() >= next);
      answers.push(await isSent('before'));
    }
    // The SDK leaves the old connection as soon as the new one opens: this request is on its way just then.
    ann.sockets()[1].prependOnceListener('open', () => answers.push(isSent('at the same moment')));
    await eventually('the change-over', () => ann.sockets()[0].readyState === WebSocket.CLOSED);
    answers.push(isSent('after'));
    assert.ok((await Promise.all(answers)).length > 5);
    assert.deepEqual(ann.journal.all('disconnect'), []);
  });

  check(
    'a lost connection comes back with a fresh token',
    ['CreateChatToken', 'SEND_MESSAGE', 'frame:MESSAGE'],
    async () => {
      const proxy = await startProxy(server.edge);
      try {
        const room = await createRoom(client);
        const ann = await joined({ ...base(room, 'ann'), edge: proxy.url });
        const ben = await joined(base(room, 'ben'));
        assert.equal(proxy.cutAll(), 1);
        await ann.journal.atLeast(2, 'connect');
        const tokens = ann.journal.all('token').map(({ token }) => token);
        assert.equal(new Set(tokens).size, 2);
        const message = await ben.chat.sendMessage(new SendMessageRequest('welcome back'));
        assert.deepEqual(await ann.journal.first('message'), message);
        assert.deepEqual(ann.journal.all('disconnect'), []);
        ann.chat.disconnect();
        assert.equal(await ann.journal.first('disconnect'), 'clientDisconnect');
      } finally {
        await proxy.stop();
      }
    },
  );

  check('refused handshakes are retried until a fresh token is let in', ['CreateChatToken'], async () => {
    const room = await createRoom(client);
    const used = await createToken(client, room, 'ann');
    const socket = new WebSocket(server.edge, used.token);
    await once(socket, 'open');
    assert.equal(socket.protocol, used.token);

    const ann = await joined({ ...base(room, 'ann'), nextToken: (attempt, mint) => (attempt < 4 ? used : mint()) });
    assert.equal(ann.journal.all('token').length, 4);
    assert.equal((await ann.chat.sendMessage(new SendMessageRequest('in'))).content, 'in');
    socket.close();
  });

  check('handshakes that stay refused end as a socketError', ['CreateChatToken'], async () => {
    const ann = participant({ ...base(await createRoom(client), 'ann'), nextToken: () => ({ token: 'not-a-token' }) });
    ann.chat.connect();
    assert.equal(await ann.journal.first('disconnect'), 'socketError');
    assert.equal(ann.journal.all('token').length, 4);
    assert.deepEqual(ann.journal.all('connect'), []);
  });

  check(
    'the end of a session makes the SDK reconnect, not give up',
    ['CreateChatToken', 'frame:ERROR', 'SEND_MESSAGE'],
    async () => {
      const room = await createRoom(client);
      const ann = await joined({
        ...base(room, 'ann'),
        sessionDurationInMinutes: 1,
        // Without the token's end the SDK does not renew it in time, so that the session really ends.
        nextToken: async (_, mint) => ({ token: (await mint()).token }),
      });
      await ann.journal.atLeast(2, 'connect', SESSION_END_MS_MAX);
      assert.equal(ann.journal.all('token').length, 2);
      assert.deepEqual(ann.journal.all('disconnect'), []);
      assert.equal((await ann.chat.sendMessage(new SendMessageRequest('still here'))).content, 'still here');
    },
  );
});
