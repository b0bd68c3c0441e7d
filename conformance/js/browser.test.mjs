// The official chat messaging SDK, unmodified, as ES modules in a page of headless Chromium.
//
// Two participants and a moderator share a page; everything that is asserted is read from the page.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { SendEventCommand } from '@aws-sdk/client-ivschat';
import { chromium } from 'playwright-core';

import { EVERY_CAPABILITY, createRoom, createToken, send, startStage } from './control.mjs';
import { startPageServer } from './page-server.mjs';
import { startProxy } from './proxy.mjs';
import { suite } from './results.mjs';
import { eventually } from './waiting.mjs';

const check = suite({ name: 'browser', file: import.meta.url, client: 'amazon-ivs-chat-messaging in Chromium' });
const { server, client } = await startStage();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
after(() => browser.close());

/** A token that the SDK renews after about a second: it does so 30 s before the end of a token this short-lived. */
const REFRESH_SOON_MS = 31_000;

/** How long the page may take for one thing: a browser on a busy machine of two cores is slow. */
const PAGE_MS_MAX = 45_000;

/** Opens the page with Ann, Ben and a moderator in a new room, connected through a proxy. */
async function openChat({ refreshSoonOnce = [] } = {}) {
  const room = await createRoom(client);
  const minted = { ann: 0, ben: 0, moderator: 0 };
  const pages = await startPageServer(async (userId) => {
    minted[userId] += 1;
    const capabilities = userId === 'moderator' ? EVERY_CAPABILITY : ['SEND_MESSAGE'];
    const token = await createToken(client, room, userId, { capabilities, attributes: { name: userId.toUpperCase() } });
    const refreshSoon = minted[userId] === 1 && refreshSoonOnce.includes(userId);
    return refreshSoon ? { ...token, tokenExpirationTime: new Date(Date.now() + REFRESH_SOON_MS) } : token;
  });
  const proxy = await startProxy(server.edge);
  const page = await browser.newPage();
  page.setDefaultTimeout(PAGE_MS_MAX);
  const problems = [];
  page.on('pageerror', (error) => problems.push(error.message));
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket));

  const query = new URLSearchParams([['edge', proxy.url], ...Object.keys(minted).map((userId) => ['user', userId])]);
  await page.goto(`${pages.url}/?${query}`);
  const people = Object.fromEntries(Object.keys(minted).map((userId) => [userId, personOn(page, userId)]));
  for (const person of Object.values(people)) await person.shows('.states', 'connected');

  async function close() {
    await page.close();
    await proxy.stop();
    await pages.stop();
    assert.deepEqual(problems, [], 'no error was thrown in the page');
  }
  return { room, proxy, minted, sockets, close, ...people };
}

/** A participant's section of the page, as a person sees and uses it. */
function personOn(page, userId) {
  const section = page.locator(`#${userId}`);
  return {
    section,
    shows: (list, text) => section.locator(`${list} li`, { hasText: text }).first().waitFor(),
    texts: (list) =>
      section.locator(`${list} li`).evaluateAll((items) => items.map((item) => item.firstChild.textContent.trim())),
    state: () => section.locator('.state').textContent(),
    async says(content) {
      await section.locator('.send input').fill(content);
      await section.locator('.send button').click();
    },
    deletes: (content) => section.locator('.messages li', { hasText: content }).locator('button').click(),
    async disconnects(other) {
      await section.locator('.kick input').fill(other);
      await section.locator('.kick button').click();
    },
  };
}

check(
  'participants chat, and an application’s event is shown',
  ['CreateChatToken', 'SEND_MESSAGE', 'frame:MESSAGE', 'SendEvent', 'frame:EVENT'],
  async () => {
    const { room, ann, ben, moderator, close } = await openChat();
    await ann.says('hello <i>Ben</i>');
    await ben.shows('.messages', 'hello');
    await ben.says('hello Ann 🎈');
    await send(
      client,
      new SendEventCommand({ roomIdentifier: room.arn, eventName: 'app:GOAL', attributes: { by: 'seven' } }),
    );
    for (const person of [ann, ben, moderator]) {
      await person.shows('.messages', 'hello Ann');
      await person.shows('.notices', 'app:GOAL {"by":"seven"}');
      assert.deepEqual(await person.texts('.messages'), ['ANN: hello <i>Ben</i>', 'BEN: hello Ann 🎈']);
      assert.deepEqual(await person.texts('.states'), ['connecting', 'connected']);
    }
    await close();
  },
);

check(
  'a moderator deletes a message and disconnects a user; a participant may not',
  ['DELETE_MESSAGE', 'DISCONNECT_USER', 'frame:EVENT', 'frame:ERROR'],
  async () => {
    const { ann, ben, moderator, minted, close } = await openChat();
    await ben.says('something rude');
    await ann.shows('.messages', 'something rude');
    await ann.deletes('something rude');
    await ann.shows('.notices', 'error 403');
    await ann.disconnects('ben');
    await eventually(
      'the second refusal',
      async () => (await ann.texts('.notices')).filter((text) => text.startsWith('error 403')).length === 2,
    );
    assert.equal(await ben.state(), 'connected');

    await moderator.shows('.messages', 'something rude');
    await moderator.deletes('something rude');
    for (const person of [ann, ben, moderator]) await person.shows('.messages', 'deleted (not nice)');

    await moderator.disconnects('ben');
    await ben.shows('.states', 'disconnected: serverDisconnect');
    for (const person of [ann, ben, moderator]) await person.shows('.notices', 'ben was disconnected (not welcome)');
    await ann.says('peace');
    await moderator.shows('.messages', 'peace');
    assert.deepEqual(await ben.texts('.messages'), ['deleted (not nice)']);
    assert.deepEqual(await ben.texts('.states'), ['connecting', 'connected', 'disconnected: serverDisconnect']);
    assert.equal(minted.ben, 1, 'a disconnected user does not come back by itself');
    await close();
  },
);

check('a token is renewed without anybody noticing', ['CreateChatToken', 'SEND_MESSAGE', 'frame:MESSAGE'], async () => {
  const { ann, ben, moderator, minted, sockets, close } = await openChat({ refreshSoonOnce: ['ann'] });
  const said = [];
  const renewed = () =>
    minted.ann === 2 && sockets.length === 4 && sockets.filter((socket) => socket.isClosed()).length === 1;
  while (!renewed()) {
    // Two take turns, so that neither says more than ten things a second.
    const [speaker, name] = said.length % 2 === 0 ? [ben, 'BEN'] : [moderator, 'MODERATOR'];
    const content = `message ${said.length}`;
    said.push(`${name}: ${content}`);
    await speaker.says(content);
    await eventually(`${content} to be shown`, async () =>
      (await speaker.texts('.messages')).includes(`${name}: ${content}`),
    );
  }
  await ann.says('last');
  said.push('ANN: last');
  for (const person of [ann, ben]) {
    await person.shows('.messages', 'last');
    assert.deepEqual(await person.texts('.messages'), said);
    assert.deepEqual(await person.texts('.states'), ['connecting', 'connected']);
  }
  assert.deepEqual(
    (await ben.texts('.notices')).filter((text) => text !== 'done'),
    [],
  );
  await close();
});

check('connections that are lost come back', ['CreateChatToken', 'SEND_MESSAGE', 'frame:MESSAGE'], async () => {
  const { ann, ben, moderator, proxy, minted, close } = await openChat();
  await ann.says('before');
  await ben.shows('.messages', 'before');
  assert.equal(proxy.cutAll(), 3);
  for (const person of [ann, ben, moderator]) {
    await eventually('the way back', async () => (await person.texts('.states')).length === 4);
    assert.deepEqual(await person.texts('.states'), ['connecting', 'connected', 'connecting', 'connected']);
  }
  assert.deepEqual(minted, { ann: 2, ben: 2, moderator: 2 });
  await ann.says('after');
  for (const person of [ann, ben]) {
    await person.shows('.messages', 'after');
    assert.deepEqual(await person.texts('.messages'), ['ANN: before', 'ANN: after']);
  }
  await close();
});
