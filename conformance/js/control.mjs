// The control plane as the AWS SDK for JavaScript sees it: clients, and the few calls that every suite needs.

import { after } from 'node:test';

import { CreateChatTokenCommand, CreateRoomCommand, IvschatClient } from '@aws-sdk/client-ivschat';

import { CREDENTIALS, REGION, startServer } from './server.mjs';

export const EVERY_CAPABILITY = ['SEND_MESSAGE', 'DELETE_MESSAGE', 'DISCONNECT_USER'];

/** An SDK client of `server`, with whatever the test wants otherwise. */
export function controlClient(server, overrides = {}) {
  return new IvschatClient({ endpoint: server.api, region: REGION, credentials: CREDENTIALS, ...overrides });
}

/**
 * What the tests of one file share: a server of their own, with `settings` as environment variables, and a client of it,
 * which both end with the last test. `how` it is started: see `startServer`.
 */
export async function startStage(settings = {}, how = {}) {
  const server = await startServer(settings, how);
  after(() => server.stop());
  const client = controlClient(server);
  after(() => client.destroy());
  return { server, client };
}

/** The answer of an operation without the SDK's own `$metadata`. */
export async function send(client, command) {
  const { $metadata, ...body } = await client.send(command);
  return body;
}

/** A new room; `settings` as in CreateRoom. The default rate is the highest, since most tests are not about rates. */
export async function createRoom(client, settings = {}) {
  return send(client, new CreateRoomCommand({ maximumMessageRatePerSecond: 100, ...settings }));
}

/** A chat token, as CreateChatToken returns it. */
export async function createToken(client, room, userId, { capabilities = ['SEND_MESSAGE'], ...rest } = {}) {
  return send(client, new CreateChatTokenCommand({ roomIdentifier: room.arn, userId, capabilities, ...rest }));
}
