// A bare WebSocket with its frames and its end in a journal, for clients that were written before there was an SDK.

import WebSocket from 'ws';

import { Journal } from './waiting.mjs';

/** Opens a socket with a chat token, as the messaging API documents it: the token is the sub-protocol. */
export async function openSocket(edge, token) {
  const socket = new WebSocket(edge, token);
  const journal = new Journal();
  socket.on('open', () => journal.record('open', socket.protocol));
  socket.on('message', (data, isBinary) => journal.record(isBinary ? 'binary' : 'text', data.toString()));
  socket.on('pong', (data) => journal.record('pong', data.toString()));
  socket.on('close', (code, reason) => journal.record('close', { code, reason: reason.toString() }));
  socket.on('error', (error) => journal.record('error', error.message));
  await journal.first('open');

  /** The first frame, parsed, whose members include those given. */
  const frame = async (expected, limitMs) =>
    JSON.parse(await journal.first('text', (text) => includes(JSON.parse(text), expected), limitMs));
  const say = (value) => socket.send(typeof value === 'string' ? value : JSON.stringify(value));
  return { socket, journal, frame, say };
}

/** The status and the body of a handshake that is answered without an upgrade. */
export function refusedHandshake(edge, protocols) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(edge, protocols);
    socket.on('open', () => reject(new Error('the handshake was accepted')));
    socket.on('error', reject);
    socket.on('unexpected-response', (_, response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
  });
}

function includes(actual, expected) {
  return Object.entries(expected).every(([key, value]) => actual[key] === value);
}
