// A server with `edge.compression`: whoever offers permessage-deflate gets it, and everybody hears the same.

import assert from 'node:assert/strict';

import { SendMessageRequest } from 'amazon-ivs-chat-messaging';
import WebSocket from 'ws';

import { createRoom, createToken, startStage } from './control.mjs';
import { joined } from './participant.mjs';
import { openSocket } from './raw-socket.mjs';
import { suite } from './results.mjs';

const check = suite({ name: 'js-compression', file: import.meta.url, client: 'amazon-ivs-chat-messaging' });
const { server, client } = await startStage({ GRANDSTAND_EDGE_COMPRESSION: 'true' });

check(
  'people with and without compression are in one conversation',
  ['SEND_MESSAGE', 'frame:MESSAGE', 'frame:ERROR', 'CreateChatToken'],
  async () => {
    const room = await createRoom(client);
    const sdk = await joined({ client, edge: server.edge, room, userId: 'sdk' });
    assert.equal(sdk.sockets()[0].extensions, 'permessage-deflate');
    const { token } = await createToken(client, room, 'bare');
    const bare = await openSocket(server.edge, token);
    const { token: plainToken } = await createToken(client, room, 'plain');
    const plain = new WebSocket(server.edge, plainToken, { perMessageDeflate: false });
    const heardPlain = [];
    plain.on('message', (data) => heardPlain.push(data.toString()));
    await new Promise((resolve) => plain.once('open', resolve));
    assert.equal(plain.extensions, '');

    // `ws` compresses what is longer than a kilobyte, and this is.
    const content = 'ä 🎈 '.repeat(60);
    const sent = await sdk.chat.sendMessage(new SendMessageRequest(content, { more: 'x'.repeat(600) }));
    assert.equal(sent.content, content);
    bare.say({ Action: 'SEND_MESSAGE', Content: 'short' });
    await bare.frame({ Content: 'short' });
    plain.send('nonsense');
    plain.send('{"Action":"SEND_MESSAGE","Content":"last"}');
    await bare.frame({ Content: 'last' });
    await sdk.journal.first('message', (message) => message.content === 'last');
    const texts = bare.journal.all('text');
    assert.deepEqual(
      texts.map((text) => JSON.parse(text).Content),
      [content, 'short', 'last'],
    );
    const messages = heardPlain.filter((text) => JSON.parse(text).Type === 'MESSAGE');
    assert.deepEqual(messages.slice(0, 2), texts.slice(0, 2), 'byte for byte');
    plain.terminate();
  },
);
