// A participant of a room who uses the official messaging SDK, unmodified; what the SDK reports lands in a journal.
//
// In Node the SDK needs a global WebSocket; the one of `ws` is put there, in a subclass that only keeps a list.

import { ChatRoom } from 'amazon-ivs-chat-messaging';
import WebSocket from 'ws';

import { createToken } from './control.mjs';
import { Journal } from './waiting.mjs';

const socketsByToken = new Map();
globalThis.WebSocket = class extends WebSocket {
  constructor(address, protocol) {
    super(address, protocol);
    socketsByToken.set(protocol, this);
  }
};

const LISTENED = ['connecting', 'connect', 'disconnect', 'message', 'event', 'messageDelete', 'userDisconnect'];
const quiet = { debug() {}, info() {}, error() {} };

/**
 * Makes a participant; `connect()` of its `chat` is still to be called.
 *
 * `nextToken(attempt, mint)` answers the SDK's requests for tokens, counted from 1; `mint()` creates a fresh one. By
 * default every request gets a fresh one.
 */
export function participant({ client, edge, room, userId, nextToken = (_, mint) => mint(), ...tokenRequest }) {
  const journal = new Journal();
  const mint = () => createToken(client, room, userId, tokenRequest);
  let attempts = 0;
  const chat = new ChatRoom({
    regionOrUrl: edge,
    tokenProvider: async () => {
      attempts += 1;
      const token = await nextToken(attempts, mint);
      journal.record('token', token);
      return token;
    },
  });
  chat.logger = quiet;
  for (const name of LISTENED) chat.addListener(name, (value) => journal.record(name, value));

  /** The sockets that the SDK has opened, oldest first. */
  const sockets = () =>
    journal
      .all('token')
      .map(({ token }) => socketsByToken.get(token))
      .filter(Boolean);
  return { userId, chat, journal, sockets };
}

/** A participant that is connected. */
export async function joined(options) {
  const member = participant(options);
  member.chat.connect();
  await member.journal.first('connect');
  return member;
}
