// The AWS SDK for JavaScript v3 against the limits profile `aws`: quotas of an account in a region as typed exceptions,
// and retries that get past them. Each test has a region of its own, and with it its own quotas.

import assert from 'node:assert/strict';

import {
  CreateRoomCommand,
  GetRoomCommand,
  ListRoomsCommand,
  ServiceQuotaExceededException,
  ThrottlingException,
} from '@aws-sdk/client-ivschat';

import { controlClient, send, startStage } from './control.mjs';
import { suite } from './results.mjs';
import { ACCOUNT_ID } from './server.mjs';

const check = suite({ name: 'js-sdk', file: import.meta.url, client: '@aws-sdk/client-ivschat' });
const { server } = await startStage({ GRANDSTAND_LIMITS_PROFILE: 'aws', GRANDSTAND_LIMITS_ROOMS: '2' });

const GIVE_UP_MS = 60_000;

/** Runs `body` with a client that differs from the usual one, and lets go of its connections. */
async function withClient(overrides, body) {
  const client = controlClient(server, overrides);
  try {
    return await body(client);
  } finally {
    client.destroy();
  }
}

/** The error that `ask` ends with when it is repeated. */
async function failureOf(ask) {
  const giveUpAt = Date.now() + GIVE_UP_MS;
  while (Date.now() < giveUpAt) {
    try {
      await ask();
    } catch (error) {
      return error;
    }
  }
  return assert.fail('nothing was refused');
}

/** What a typed exception says besides what every error has. */
function membersOf({ message, resourceId, resourceType, limit, $fault }) {
  return { message, resourceId, resourceType, limit, $fault };
}

check('a rate that is used up is a ThrottlingException', ['ListRooms', 'GetRoom'], async () => {
  await withClient({ region: 'throttled', maxAttempts: 1 }, async (client) => {
    const room = await send(client, new CreateRoomCommand({}));
    for (const [command, resourceId] of [
      [new ListRoomsCommand({}), ACCOUNT_ID],
      [new GetRoomCommand({ identifier: room.arn }), room.id],
    ]) {
      const error = await failureOf(() => client.send(command));
      assert.ok(error instanceof ThrottlingException, `${error.name}: ${error.message}`);
      assert.equal(error.$metadata.httpStatusCode, 429);
      const expected = { message: 'Rate exceeded', resourceId, resourceType: 'ROOM', limit: 5, $fault: 'client' };
      assert.deepEqual(membersOf(error), expected);
    }
  });
});

check('one room too many is a ServiceQuotaExceededException', ['CreateRoom'], async () => {
  await withClient({ region: 'crowded', maxAttempts: 1 }, async (client) => {
    const error = await failureOf(() => client.send(new CreateRoomCommand({})));
    assert.ok(error instanceof ServiceQuotaExceededException, `${error.name}: ${error.message}`);
    assert.equal(error.$metadata.httpStatusCode, 402);
    assert.deepEqual(membersOf(error), {
      message: 'The account has 2 rooms in this region already, its quota',
      resourceId: ACCOUNT_ID,
      resourceType: 'ROOM',
      limit: 2,
      $fault: 'client',
    });
    assert.equal((await send(client, new ListRoomsCommand({}))).rooms.length, 2);
  });
});

check('a burst gets through with the SDK’s own retries', ['ListRooms'], async () => {
  // So many attempts that chance plays no part.
  await withClient({ region: 'patient', maxAttempts: 20 }, async (client) => {
    const giveUpAt = Date.now() + GIVE_UP_MS;
    let attempts = [];
    while (!attempts.some((count) => count > 1)) {
      assert.ok(Date.now() < giveUpAt, 'nothing was refused');
      const answers = await Promise.all(Array.from({ length: 8 }, () => client.send(new ListRoomsCommand({}))));
      for (const { rooms } of answers) assert.deepEqual(rooms, []);
      attempts = answers.map(({ $metadata }) => $metadata.attempts);
    }
  });
});
