// Clients from before the messaging SDKs: bare WebSockets with lower-case keys, as web, Android and iOS demos had them.
//
// They pin what the SDKs forgive: the bytes of a frame (order of the keys, null and empty values), the case of the keys
// in a request, pings, times, and what closes say. Rewritten from a description of their behaviour, in our own words.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { DisconnectUserCommand, SendEventCommand } from '@aws-sdk/client-ivschat';

import { EVERY_CAPABILITY, createRoom, createToken, send, startStage } from './control.mjs';
import { openSocket, refusedHandshake } from './raw-socket.mjs';
import { suite } from './results.mjs';

const check = suite({ name: 'js-raw', file: import.meta.url, client: 'raw clients of old' });
const { server, client } = await startStage();

/** A session is at least a minute long. */
const SESSION_END_MS_MAX = 75_000;
const TIME = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:\\.\\d{0,8}[1-9])?Z';
const ID = '[a-zA-Z0-9]{12}';

async function open(room, userId, options = {}) {
  const { token } = await createToken(client, room, userId, { capabilities: EVERY_CAPABILITY, ...options });
  return openSocket(server.edge, token);
}

/** `text` must be `pattern`, in which `ID` and `TIME` stand for what differs from time to time. */
function assertBytes(text, pattern) {
  const quoted = pattern
    .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll('"ID"', `"${ID}"`)
    .replaceAll('"TIME"', `"${TIME}"`);
  assert.match(text, new RegExp(`^${quoted}$`));
}

describe('frames, byte for byte', { concurrency: true }, () => {
  check('a message without anything optional', ['SEND_MESSAGE', 'frame:MESSAGE'], async () => {
    const { journal, say } = await open(await createRoom(client), 'u 1');
    say('{"Action":"SEND_MESSAGE","Content":"Hi"}');
    assertBytes(
      await journal.first('text'),
      '{"Type":"MESSAGE","Id":"ID","RequestId":"","Attributes":null,"Content":"Hi","SendTime":"TIME",' +
        '"Sender":{"UserId":"u 1","Attributes":{}}}',
    );
  });

  check('a message with everything: attributes are sorted by key', ['SEND_MESSAGE', 'frame:MESSAGE'], async () => {
    const { journal, say } = await open(await createRoom(client), 'u1', { attributes: { username: 'u', avatar: 'a' } });
    say('{"Action":"SEND_MESSAGE","RequestId":"r-1","Attributes":{"b":"2","a":"1"},"Content":"Hi"}');
    assertBytes(
      await journal.first('text'),
      '{"Type":"MESSAGE","Id":"ID","RequestId":"r-1","Attributes":{"a":"1","b":"2"},"Content":"Hi","SendTime":"TIME",' +
        '"Sender":{"UserId":"u1","Attributes":{"avatar":"a","username":"u"}}}',
    );
  });

  check('the events of moderation', ['DELETE_MESSAGE', 'DISCONNECT_USER', 'frame:EVENT'], async () => {
    const { journal, say } = await open(await createRoom(client), 'u1');
    say('{"Action":"DELETE_MESSAGE","Id":"AbCdEfGh1234","Reason":"rude","RequestId":"r-1"}');
    say('{"Action":"DISCONNECT_USER","UserId":"u2","Reason":"rude","RequestId":"r-2"}');
    const [deletion, disconnection] = await journal.atLeast(2, 'text');
    const [head, tail] = ['{"Type":"EVENT","Id":"ID","RequestId":', ',"SendTime":"TIME"}'];
    assertBytes(
      deletion,
      `${head}"r-1","EventName":"aws:DELETE_MESSAGE",` +
        `"Attributes":{"MessageID":"AbCdEfGh1234","MessageId":"AbCdEfGh1234","Reason":"rude"}${tail}`,
    );
    assertBytes(
      disconnection,
      `${head}"r-2","EventName":"aws:DISCONNECT_USER","Attributes":{"Reason":"rude","UserId":"u2"}${tail}`,
    );
  });

  check('the event of an application, with and without attributes', ['SendEvent', 'frame:EVENT'], async () => {
    const room = await createRoom(client);
    const { journal } = await open(room, 'u1');
    const { id } = await send(
      client,
      new SendEventCommand({ roomIdentifier: room.arn, eventName: 'app:X', attributes: { b: '2', a: '1' } }),
    );
    const text = await journal.first('text');
    assertBytes(
      text,
      '{"Type":"EVENT","Id":"ID","RequestId":"","EventName":"app:X","Attributes":{"a":"1","b":"2"},"SendTime":"TIME"}',
    );
    assert.equal(JSON.parse(text).Id, id);

    await send(client, new SendEventCommand({ roomIdentifier: room.arn, eventName: 'app:Y' }));
    const [, bare] = await journal.atLeast(2, 'text');
    assertBytes(
      bare,
      '{"Type":"EVENT","Id":"ID","RequestId":"","EventName":"app:Y","Attributes":null,"SendTime":"TIME"}',
    );
  });

  check('an error goes to the one who asked, with the request’s id', ['SEND_MESSAGE', 'frame:ERROR'], async () => {
    const room = await createRoom(client, { maximumMessageLength: 1 });
    const [asker, other] = await Promise.all([open(room, 'u1'), open(room, 'u2')]);
    asker.say('{"Action":"SEND_MESSAGE","Content":"12","RequestId":"r-1"}');
    assertBytes(
      await asker.journal.first('text'),
      '{"Type":"ERROR","Id":"ID","RequestId":"r-1","ErrorCode":400,"ErrorMessage":"Message exceeds maximum length"}',
    );
    asker.say('{"Action":"SEND_MESSAGE","Content":"1"}');
    await other.frame({ Content: '1' });
    assert.equal(other.journal.all('text').length, 1);
  });

  check(
    'what is no request is an error 400, and the connection lives on',
    ['frame:ERROR', 'SEND_MESSAGE'],
    async () => {
      const { journal, say, frame } = await open(await createRoom(client), 'u1');
      const broken = [
        '',
        '{',
        '[]',
        'null',
        '"x"',
        '{}',
        '{"Action":"SHOUT"}',
        '{"Action":"SEND_MESSAGE"}',
        '{"Action":"SEND_MESSAGE","Content":7}',
      ];
      for (const [index, text] of broken.entries()) {
        say(text);
        const errors = await journal.atLeast(index + 1, 'text');
        const { Type, ErrorCode, RequestId } = JSON.parse(errors[index]);
        assert.deepEqual(
          { Type, ErrorCode, RequestId },
          { Type: 'ERROR', ErrorCode: 400, RequestId: '' },
          JSON.stringify(text),
        );
      }
      say('{"Action":"SEND_MESSAGE","Content":"fine"}');
      await frame({ Content: 'fine' });
    },
  );
});

describe('the web client of 2022', { concurrency: true }, () => {
  check('its lower-camel keys and extra members are understood', ['SEND_MESSAGE', 'frame:MESSAGE'], async () => {
    const { say, frame } = await open(await createRoom(client), 'u1');
    say({
      action: 'SEND_MESSAGE',
      id: 'made-by-the-page',
      content: 'hi',
      requestId: 'r-1',
      attributes: { message_type: 'STICKER' },
    });
    const { Content, Attributes, RequestId } = await frame({ Type: 'MESSAGE' });
    assert.deepEqual(
      { Content, Attributes, RequestId },
      { Content: 'hi', Attributes: { message_type: 'STICKER' }, RequestId: 'r-1' },
    );
  });

  check('its deletion mixes the cases of keys', ['DELETE_MESSAGE', 'frame:EVENT'], async () => {
    const { say, frame } = await open(await createRoom(client), 'u1');
    say({ Action: 'DELETE_MESSAGE', reason: 'rude', id: 'AbCdEfGh1234' });
    const { Attributes } = await frame({ EventName: 'aws:DELETE_MESSAGE' });
    assert.deepEqual(Attributes, { MessageID: 'AbCdEfGh1234', MessageId: 'AbCdEfGh1234', Reason: 'rude' });
  });

  check('it reads the reason of a kick from the close, as plain text', ['DisconnectUser', 'frame:EVENT'], async () => {
    const room = await createRoom(client);
    const { journal, frame } = await open(room, 'u1');
    const reason = `${'ä'.repeat(100)} enough`;
    await send(client, new DisconnectUserCommand({ roomIdentifier: room.arn, userId: 'u1', reason }));
    assert.equal((await frame({ EventName: 'aws:DISCONNECT_USER' })).Attributes.Reason, reason);
    const close = await journal.first('close');
    assert.equal(close.code, 1000);
    assert.ok(
      close.reason.length > 0 && reason.startsWith(close.reason),
      'cut to what a Close frame can hold, at a character',
    );
    assert.equal(journal.entries.at(-2).kind, 'text', 'the event comes before the close');
  });

  check(
    'it reads the end of a session from an error, then from the close, as JSON',
    ['CreateChatToken', 'frame:ERROR'],
    async () => {
      const { journal, frame } = await open(await createRoom(client), 'u1', { sessionDurationInMinutes: 1 });
      const error = await frame({ Type: 'ERROR' }, SESSION_END_MS_MAX);
      assert.equal(error.ErrorCode, 401);
      const { code, reason } = await journal.first('close');
      assert.equal(code, 1000);
      assert.equal(JSON.parse(reason).ErrorCode, 401);
    },
  );
});

describe('the Android client of 2022', { concurrency: true }, () => {
  check('its pings are answered at once, with their payload', ['SEND_MESSAGE'], async () => {
    const { socket, journal } = await open(await createRoom(client), 'u1');
    socket.ping('');
    assert.equal(await journal.first('pong'), '');
    socket.ping('still there?');
    await journal.first('pong', (payload) => payload === 'still there?');
  });

  check('it takes null attributes for none', ['SEND_MESSAGE', 'frame:MESSAGE'], async () => {
    const { say, frame } = await open(await createRoom(client), 'u1');
    say({ action: 'SEND_MESSAGE', content: 'hi', attributes: null, requestId: null });
    const message = await frame({ Type: 'MESSAGE' });
    assert.equal(message.Attributes, null);
    assert.equal(message.RequestId, '');
    assert.equal(typeof message.Sender.Attributes, 'object');
    assert.notEqual(message.Sender.Attributes, null);
  });

  check('it closes with a code of its own, which is returned', ['CreateChatToken'], async () => {
    const { socket, journal } = await open(await createRoom(client), 'u1');
    socket.close(3000, 'restart');
    assert.equal((await journal.first('close')).code, 3000);
  });
});

describe('the iOS client of 2022', { concurrency: true }, () => {
  /** Cuts the last character off the fraction, whatever it is: only a zone of one character survives that. */
  function secondsOf(text) {
    const [whole, fraction] = text.split('.');
    if (fraction === undefined) return Date.parse(text) / 1000;
    return Date.parse(`${whole}Z`) / 1000 + Number(`0.${fraction.slice(0, -1)}`);
  }

  check(
    'it can read the time of every frame',
    ['SEND_MESSAGE', 'SendEvent', 'frame:MESSAGE', 'frame:EVENT'],
    async () => {
      const room = await createRoom(client);
      const { journal, say } = await open(room, 'u1');
      say({ action: 'SEND_MESSAGE', content: 'hi' });
      await send(client, new SendEventCommand({ roomIdentifier: room.arn, eventName: 'app:X' }));
      for (const text of await journal.atLeast(2, 'text')) {
        const seconds = secondsOf(JSON.parse(text).SendTime);
        assert.ok(Math.abs(seconds - Date.now() / 1000) < 60, text);
      }
    },
  );

  check('its requests to moderate are understood', ['DISCONNECT_USER', 'DELETE_MESSAGE', 'frame:EVENT'], async () => {
    const room = await createRoom(client);
    const moderator = await open(room, 'moderator');
    const rude = await open(room, 'rude');
    rude.say({ action: 'SEND_MESSAGE', content: 'rude' });
    const { Id } = await moderator.frame({ Type: 'MESSAGE' });
    moderator.say({ action: 'DELETE_MESSAGE', id: Id, reason: 'rude', requestId: 'r-1' });
    moderator.say({ action: 'DISCONNECT_USER', userId: 'rude', reason: 'rude', requestId: 'r-2' });
    assert.equal((await moderator.frame({ RequestId: 'r-1' })).Attributes.MessageID, Id);
    assert.equal((await moderator.frame({ RequestId: 'r-2' })).Attributes.UserId, 'rude');
    assert.equal((await rude.journal.first('close')).code, 1000);
  });
});

describe('handshakes', { concurrency: true }, () => {
  check('the token is echoed as the chosen sub-protocol', ['CreateChatToken'], async () => {
    const { token } = await createToken(client, await createRoom(client), 'u1');
    const { journal } = await openSocket(server.edge, token);
    assert.deepEqual(journal.all('open'), [token]);
  });

  check('a token that is made up or used, or none, is refused before the upgrade', ['CreateChatToken'], async () => {
    const room = await createRoom(client);
    const { token } = await createToken(client, room, 'u1');
    await openSocket(server.edge, token);
    const middle = Math.trunc(token.length / 2);
    const changed = token.slice(0, middle) + (token.at(middle) === 'x' ? 'y' : 'x') + token.slice(middle + 1);
    for (const [protocols, status, reason] of [
      [token, 403, 'the chat token has been used already'],
      ['made-up', 403, 'the chat token is malformed'],
      [changed, 403, 'the chat token is not valid here'],
      [[], 401, 'the chat token is missing: offer it as the one WebSocket sub-protocol'],
    ]) {
      assert.deepEqual(await refusedHandshake(server.edge, protocols), { status, body: `${reason}\n` });
    }
  });
});
