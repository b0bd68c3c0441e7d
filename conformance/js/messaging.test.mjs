// The official chat messaging SDK, unmodified, in Node: what an application sees while people chat and moderate.
//
// The rooms of the tests are independent of each other, so all tests run at the same time.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import {
  DeleteMessageCommand,
  DeleteRoomCommand,
  DisconnectUserCommand,
  SendEventCommand,
  UpdateRoomCommand,
} from '@aws-sdk/client-ivschat';
import { DeleteMessageRequest, DisconnectUserRequest, SendMessageRequest } from 'amazon-ivs-chat-messaging';

import { EVERY_CAPABILITY, createRoom, send, startStage } from './control.mjs';
import { joined } from './participant.mjs';
import { suite } from './results.mjs';
import { eventually } from './waiting.mjs';

const check = suite({ name: 'js-messaging', file: import.meta.url, client: 'amazon-ivs-chat-messaging' });
const { server, client } = await startStage();

const ID = /^[a-zA-Z0-9]{12}$/;
const join = (room, userId, options = {}) => joined({ client, edge: server.edge, room, userId, ...options });
const moderatorOf = (room) => join(room, 'moderator', { capabilities: EVERY_CAPABILITY });

function assertNow(time) {
  assert.ok(time instanceof Date && Math.abs(time - Date.now()) < 60_000, `${time} is not now`);
}

/** The outcome of a request that must fail. */
async function refusalOf(request) {
  return request.then(
    (answer) => assert.fail(`expected an error, got ${JSON.stringify(answer)}`),
    (error) => error,
  );
}

describe('people chat', { concurrency: true }, () => {
  check(
    'a message reaches its sender and the others, whole',
    ['SEND_MESSAGE', 'frame:MESSAGE', 'CreateChatToken'],
    async () => {
      const room = await createRoom(client);
      const ann = await join(room, 'ann', { attributes: { colour: 'red', name: 'Ann <&>' } });
      const ben = await join(room, 'ben');
      const request = new SendMessageRequest('hällo 🎈 <b>&amp;</b>\n"\\', { reply: 'none', 'a b': '' });
      const sent = await ann.chat.sendMessage(request);
      assert.match(sent.id, ID);
      assertNow(sent.sendTime);
      assert.deepEqual(sent, {
        id: sent.id,
        sender: { userId: 'ann', attributes: { colour: 'red', name: 'Ann <&>' } },
        content: request.content,
        sendTime: sent.sendTime,
        requestId: request.requestId,
        attributes: request.attributes,
      });
      assert.deepEqual(await ben.journal.first('message'), sent);
      assert.deepEqual(await ann.journal.first('message'), sent);

      const plain = await ben.chat.sendMessage(new SendMessageRequest('no attributes'));
      assert.deepEqual(plain.sender, { userId: 'ben', attributes: {} });
      assert.equal(plain.attributes, undefined);
    },
  );

  check('everybody sees the same messages in the same order', ['SEND_MESSAGE', 'frame:MESSAGE'], async () => {
    const room = await createRoom(client);
    const people = await Promise.all(['ann', 'ben', 'cy'].map((userId) => join(room, userId)));
    const requests = people.flatMap(({ userId, chat }) =>
      Array.from({ length: 8 }, (_, index) => chat.sendMessage(new SendMessageRequest(`${userId} ${index}`))),
    );
    await Promise.all(requests);
    const [first, ...others] = await Promise.all(people.map(({ journal }) => journal.atLeast(24, 'message')));
    const ids = (messages) => messages.map(({ id }) => id);
    assert.equal(new Set(ids(first)).size, 24);
    for (const other of others) assert.deepEqual(ids(other), ids(first));
    for (const { userId } of people) {
      const own = first.filter(({ sender }) => sender.userId === userId).map(({ content }) => content);
      assert.deepEqual(
        own,
        Array.from({ length: 8 }, (_, index) => `${userId} ${index}`),
      );
    }
  });

  check('nothing crosses from one room to another', ['SEND_MESSAGE', 'frame:MESSAGE'], async () => {
    const [here, there] = await Promise.all([createRoom(client), createRoom(client)]);
    const ann = await join(here, 'ann');
    const ben = await join(there, 'ben');
    await ann.chat.sendMessage(new SendMessageRequest('here'));
    await ben.chat.sendMessage(new SendMessageRequest('there'));
    assert.deepEqual(
      ben.journal.all('message').map(({ content }) => content),
      ['there'],
    );
  });

  check('an event of the application arrives with its attributes', ['SendEvent', 'frame:EVENT'], async () => {
    const room = await createRoom(client);
    const ann = await join(room, 'ann');
    const attributes = { score: '1:0', ÿ: '' };
    const { id } = await send(
      client,
      new SendEventCommand({ roomIdentifier: room.arn, eventName: 'app:GOAL', attributes }),
    );
    const event = await ann.journal.first('event');
    assertNow(event.sendTime);
    assert.deepEqual(event, { id, eventName: 'app:GOAL', sendTime: event.sendTime, requestId: '', attributes });
  });

  check('a changed room setting holds on open connections', ['UpdateRoom', 'SEND_MESSAGE', 'frame:ERROR'], async () => {
    const room = await createRoom(client);
    const ann = await join(room, 'ann');
    await ann.chat.sendMessage(new SendMessageRequest('12345'));
    await send(client, new UpdateRoomCommand({ identifier: room.arn, maximumMessageLength: 4 }));
    const refusal = await eventually('the new length to hold', () =>
      ann.chat.sendMessage(new SendMessageRequest('12345')).then(
        () => undefined,
        (error) => error,
      ),
    );
    assert.equal(refusal.errorCode, 400);
    await ann.chat.sendMessage(new SendMessageRequest('🎈🎈🎈🎈'));
  });

  check(
    'a deleted room keeps its connections and refuses messages',
    ['DeleteRoom', 'SEND_MESSAGE', 'frame:ERROR'],
    async () => {
      const room = await createRoom(client);
      const ann = await join(room, 'ann');
      await send(client, new DeleteRoomCommand({ identifier: room.arn }));
      const refusal = await eventually('the room to be gone', () =>
        ann.chat.sendMessage(new SendMessageRequest('anyone?')).then(
          () => undefined,
          (error) => error,
        ),
      );
      assert.equal(refusal.errorCode, 404);
      assert.equal(ann.chat.state, 'connected');
    },
  );
});

describe('people moderate', { concurrency: true }, () => {
  check('a moderator deletes a message, and all are told', ['DELETE_MESSAGE', 'frame:EVENT'], async () => {
    const room = await createRoom(client);
    const ann = await join(room, 'ann');
    const moderator = await moderatorOf(room);
    const { id: messageId } = await ann.chat.sendMessage(new SendMessageRequest('rude'));
    const request = new DeleteMessageRequest(messageId, 'rude word');
    const deletion = await moderator.chat.deleteMessage(request);
    assert.match(deletion.id, ID);
    assertNow(deletion.sendTime);
    assert.deepEqual(deletion, {
      id: deletion.id,
      messageId,
      reason: 'rude word',
      sendTime: deletion.sendTime,
      requestId: request.requestId,
      attributes: { MessageID: messageId, MessageId: messageId, Reason: 'rude word' },
    });
    assert.deepEqual(await ann.journal.first('messageDelete'), deletion);

    const silent = await moderator.chat.deleteMessage(new DeleteMessageRequest(messageId));
    assert.equal(silent.messageId, messageId);
    assert.ok(!silent.reason);
  });

  check('DeleteMessage of the API tells all', ['DeleteMessage', 'frame:EVENT'], async () => {
    const room = await createRoom(client);
    const ann = await join(room, 'ann');
    const message = await ann.chat.sendMessage(new SendMessageRequest('rude'));
    const { id } = await send(
      client,
      new DeleteMessageCommand({ roomIdentifier: room.arn, id: message.id, reason: 'api' }),
    );
    const deletion = await ann.journal.first('messageDelete');
    assert.deepEqual(deletion, {
      id,
      messageId: message.id,
      reason: 'api',
      sendTime: deletion.sendTime,
      requestId: '',
      attributes: { MessageID: message.id, MessageId: message.id, Reason: 'api' },
    });
  });

  check('a moderator disconnects a user, who stays away', ['DISCONNECT_USER', 'frame:EVENT'], async () => {
    const room = await createRoom(client);
    const [phone, laptop] = await Promise.all([join(room, 'ann'), join(room, 'ann')]);
    const ben = await join(room, 'ben');
    const moderator = await moderatorOf(room);
    const request = new DisconnectUserRequest('ann', 'enough');
    const disconnection = await moderator.chat.disconnectUser(request);
    assert.deepEqual(disconnection, {
      id: disconnection.id,
      userId: 'ann',
      reason: 'enough',
      sendTime: disconnection.sendTime,
      requestId: request.requestId,
      attributes: { Reason: 'enough', UserId: 'ann' },
    });
    assert.deepEqual(await ben.journal.first('userDisconnect'), disconnection);
    for (const { journal } of [phone, laptop]) {
      assert.equal(await journal.first('disconnect'), 'serverDisconnect');
      assert.deepEqual(journal.all('userDisconnect'), [disconnection]);
    }
    // A reconnecting SDK asks for its token at once: after a whole round trip of somebody else it would have.
    await ben.chat.sendMessage(new SendMessageRequest('still here'));
    for (const { chat, journal } of [phone, laptop]) {
      assert.equal(chat.state, 'disconnected');
      assert.equal(journal.all('token').length, 1);
      assert.deepEqual(journal.all('message'), []);
    }
  });

  check(
    'DisconnectUser of the API disconnects, and a new token lets the user back in',
    ['DisconnectUser', 'frame:EVENT'],
    async () => {
      const room = await createRoom(client);
      const ann = await join(room, 'ann');
      const ben = await join(room, 'ben');
      await send(client, new DisconnectUserCommand({ roomIdentifier: room.arn, userId: 'ann', reason: 'api' }));
      const { requestId, userId, reason } = await ben.journal.first('userDisconnect');
      assert.deepEqual({ requestId, userId, reason }, { requestId: '', userId: 'ann', reason: 'api' });
      assert.equal(await ann.journal.first('disconnect'), 'serverDisconnect');

      ann.chat.connect();
      await ann.journal.atLeast(2, 'connect');
      const { content } = await ann.chat.sendMessage(new SendMessageRequest('back'));
      assert.equal(content, 'back');
    },
  );
});

describe('requests are refused', { concurrency: true }, () => {
  check(
    'without the capability: 403, and the connection lives on',
    ['SEND_MESSAGE', 'DELETE_MESSAGE', 'DISCONNECT_USER', 'frame:ERROR'],
    async () => {
      const room = await createRoom(client);
      const viewer = await join(room, 'viewer', { capabilities: [] });
      const ann = await join(room, 'ann');
      const message = await ann.chat.sendMessage(new SendMessageRequest('look'));
      await viewer.journal.first('message');
      const requests = [
        new SendMessageRequest('x'),
        new DeleteMessageRequest(message.id),
        new DisconnectUserRequest('ann'),
      ];
      const { chat } = viewer;
      const answers = [
        chat.sendMessage(requests[0]),
        chat.deleteMessage(requests[1]),
        chat.disconnectUser(requests[2]),
      ];
      for (const [index, answer] of answers.entries()) {
        const refusal = await refusalOf(answer);
        assert.equal(refusal.errorCode, 403);
        assert.match(refusal.id, ID);
        assert.match(refusal.errorMessage, /\S/);
        assert.equal(refusal.requestId, requests[index].requestId);
      }
      await ann.chat.sendMessage(new SendMessageRequest('still'));
      await viewer.journal.first('message', ({ content }) => content === 'still');
      assert.deepEqual(ann.journal.all('userDisconnect'), []);
    },
  );

  check('too long: 400 with the known text', ['SEND_MESSAGE', 'frame:ERROR'], async () => {
    const room = await createRoom(client, { maximumMessageLength: 5 });
    const ann = await join(room, 'ann');
    await ann.chat.sendMessage(new SendMessageRequest('🎈🎈🎈🎈🎈'));
    const { errorCode, errorMessage } = await refusalOf(ann.chat.sendMessage(new SendMessageRequest('123456')));
    assert.deepEqual({ errorCode, errorMessage }, { errorCode: 400, errorMessage: 'Message exceeds maximum length' });
  });

  check('empty: 400', ['SEND_MESSAGE', 'frame:ERROR'], async () => {
    const ann = await join(await createRoom(client), 'ann');
    assert.equal((await refusalOf(ann.chat.sendMessage(new SendMessageRequest('')))).errorCode, 400);
  });

  check(
    'too fast for the connection: 429 with the known text, then it goes on',
    ['SEND_MESSAGE', 'frame:ERROR'],
    async () => {
      const ann = await join(await createRoom(client), 'ann');
      const burst = Array.from({ length: 30 }, (_, index) => ann.chat.sendMessage(new SendMessageRequest(`${index}`)));
      const outcomes = await Promise.allSettled(burst);
      const refusals = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
      assert.ok(outcomes.length - refusals.length >= 10, 'ten a second are allowed');
      assert.ok(refusals.length > 0, 'thirty at once are not');
      for (const { errorCode, errorMessage } of refusals) {
        assert.deepEqual({ errorCode, errorMessage }, { errorCode: 429, errorMessage: 'rate limit exceeded' });
      }
      await eventually('the connection to be allowed again', () =>
        ann.chat.sendMessage(new SendMessageRequest('later')).then(
          () => true,
          () => false,
        ),
      );
      assert.equal(ann.journal.all('connect').length, 1);
    },
  );

  check('too fast for the room: 429 over all senders', ['SEND_MESSAGE', 'frame:ERROR', 'CreateRoom'], async () => {
    const room = await createRoom(client, { maximumMessageRatePerSecond: 1 });
    const [ann, ben] = await Promise.all([join(room, 'ann'), join(room, 'ben')]);
    const began = performance.now();
    const texts = ['one', 'two', 'three'];
    const outcomes = await Promise.allSettled(
      [ann, ben].flatMap(({ chat }) => texts.map((text) => chat.sendMessage(new SendMessageRequest(text)))),
    );
    const seconds = (performance.now() - began) / 1000;
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    const admitted = outcomes.length - refused.length;
    assert.ok(admitted >= 1 && admitted <= 1 + seconds, `${admitted} messages of both in ${seconds} s`);
    for (const { reason } of refused) assert.equal(reason.errorMessage, 'rate limit exceeded');
  });
});
