// What an application that uses the AWS SDK for JavaScript v3 catches: every reachable error as its typed exception.

import assert from 'node:assert/strict';

import {
  ConflictException,
  CreateChatTokenCommand,
  CreateLoggingConfigurationCommand,
  CreateRoomCommand,
  DeleteLoggingConfigurationCommand,
  DeleteMessageCommand,
  DeleteRoomCommand,
  DisconnectUserCommand,
  GetLoggingConfigurationCommand,
  GetRoomCommand,
  ListLoggingConfigurationsCommand,
  ListRoomsCommand,
  ListTagsForResourceCommand,
  ResourceNotFoundException,
  SendEventCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateLoggingConfigurationCommand,
  UpdateRoomCommand,
  ValidationException,
} from '@aws-sdk/client-ivschat';

import { controlClient, createRoom, send, startStage } from './control.mjs';
import { suite } from './results.mjs';
import { ACCOUNT_ID, CREDENTIALS, REGION } from './server.mjs';

const check = suite({ name: 'js-sdk', file: import.meta.url, client: '@aws-sdk/client-ivschat' });
const { server, client } = await startStage();

const UNKNOWN_ID = 'AbCdEfGh1234';
const UNKNOWN_ROOM = `arn:aws:ivschat:${REGION}:${ACCOUNT_ID}:room/${UNKNOWN_ID}`;
const UNKNOWN_CONFIGURATION = `arn:aws:ivschat:${REGION}:${ACCOUNT_ID}:logging-configuration/${UNKNOWN_ID}`;

/** The error that `command` fails with; its request is not repeated. */
async function failureOf(command, overrides = {}) {
  const once = controlClient(server, { maxAttempts: 1, ...overrides });
  try {
    const answer = await once.send(command);
    assert.fail(`expected an error, got ${JSON.stringify(answer)}`);
  } catch (error) {
    if (error.code === 'ERR_ASSERTION') throw error;
    assert.match(error.$metadata.requestId, /\S/, 'every error names its request');
    return error;
  } finally {
    once.destroy();
  }
}

/** Each operation, pointed at something that does not exist. */
const pointedNowhere = {
  GetRoom: new GetRoomCommand({ identifier: UNKNOWN_ROOM }),
  UpdateRoom: new UpdateRoomCommand({ identifier: UNKNOWN_ROOM, name: 'x' }),
  DeleteRoom: new DeleteRoomCommand({ identifier: UNKNOWN_ROOM }),
  CreateRoom: new CreateRoomCommand({ loggingConfigurationIdentifiers: [UNKNOWN_CONFIGURATION] }),
  ListRooms: new ListRoomsCommand({ loggingConfigurationIdentifier: UNKNOWN_CONFIGURATION }),
  CreateChatToken: new CreateChatTokenCommand({ roomIdentifier: UNKNOWN_ROOM, userId: 'u' }),
  SendEvent: new SendEventCommand({ roomIdentifier: UNKNOWN_ROOM, eventName: 'e' }),
  DeleteMessage: new DeleteMessageCommand({ roomIdentifier: UNKNOWN_ROOM, id: UNKNOWN_ID }),
  DisconnectUser: new DisconnectUserCommand({ roomIdentifier: UNKNOWN_ROOM, userId: 'u' }),
  GetLoggingConfiguration: new GetLoggingConfigurationCommand({ identifier: UNKNOWN_CONFIGURATION }),
  UpdateLoggingConfiguration: new UpdateLoggingConfigurationCommand({ identifier: UNKNOWN_CONFIGURATION, name: 'x' }),
  DeleteLoggingConfiguration: new DeleteLoggingConfigurationCommand({ identifier: UNKNOWN_CONFIGURATION }),
  TagResource: new TagResourceCommand({ resourceArn: UNKNOWN_ROOM, tags: { a: 'b' } }),
  UntagResource: new UntagResourceCommand({ resourceArn: UNKNOWN_CONFIGURATION, tagKeys: ['a'] }),
  ListTagsForResource: new ListTagsForResourceCommand({ resourceArn: UNKNOWN_ROOM }),
};

for (const [operation, command] of Object.entries(pointedNowhere)) {
  check(`${operation} of something unknown is a ResourceNotFoundException`, [operation], async () => {
    const error = await failureOf(command);
    assert.ok(error instanceof ResourceNotFoundException, `${error.name}: ${error.message}`);
    const { resourceId, resourceType, $fault } = error;
    assert.deepEqual(
      { resourceId, resourceType, $fault },
      { resourceId: UNKNOWN_ID, resourceType: 'ROOM', $fault: 'client' },
    );
    assert.equal(error.$metadata.httpStatusCode, 404);
    const arn = JSON.stringify(command.input).includes(UNKNOWN_CONFIGURATION) ? UNKNOWN_CONFIGURATION : UNKNOWN_ROOM;
    assert.equal(error.message, `Resource: ${arn} not found`);
  });
}

/** Each operation, given members that the model does not allow; next to it the members that must be named. */
const refused = {
  CreateRoom: [
    new CreateRoomCommand({ name: 'no spaces', maximumMessageLength: 501, maximumMessageRatePerSecond: 0 }),
    ['maximumMessageLength', 'maximumMessageRatePerSecond', 'name'],
  ],
  GetRoom: [new GetRoomCommand({ identifier: UNKNOWN_ID }), ['identifier']],
  UpdateRoom: [
    new UpdateRoomCommand({ identifier: `${UNKNOWN_ROOM}\n`, name: 'a'.repeat(129) }),
    ['identifier', 'name'],
  ],
  DeleteRoom: [new DeleteRoomCommand({ identifier: UNKNOWN_CONFIGURATION }), ['identifier']],
  ListRooms: [new ListRoomsCommand({ maxResults: 51, name: 'no spaces' }), ['maxResults', 'name']],
  CreateLoggingConfiguration: [
    new CreateLoggingConfigurationCommand({ name: '?' }),
    ['destinationConfiguration', 'name'],
  ],
  GetLoggingConfiguration: [new GetLoggingConfigurationCommand({ identifier: UNKNOWN_ROOM }), ['identifier']],
  UpdateLoggingConfiguration: [
    new UpdateLoggingConfigurationCommand({ identifier: UNKNOWN_CONFIGURATION, name: '?' }),
    ['name'],
  ],
  DeleteLoggingConfiguration: [new DeleteLoggingConfigurationCommand({ identifier: 'x' }), ['identifier']],
  ListLoggingConfigurations: [new ListLoggingConfigurationsCommand({ maxResults: 0 }), ['maxResults']],
  CreateChatToken: [
    new CreateChatTokenCommand({
      roomIdentifier: 'x',
      userId: '',
      capabilities: ['VIEW'],
      sessionDurationInMinutes: 181,
    }),
    ['capabilities', 'roomIdentifier', 'sessionDurationInMinutes', 'userId'],
  ],
  SendEvent: [new SendEventCommand({ roomIdentifier: UNKNOWN_ROOM, eventName: '' }), ['eventName']],
  DeleteMessage: [
    new DeleteMessageCommand({ roomIdentifier: UNKNOWN_ROOM, id: 'short', reason: '' }),
    ['id', 'reason'],
  ],
  DisconnectUser: [new DisconnectUserCommand({ roomIdentifier: UNKNOWN_ROOM, userId: 'é'.repeat(129) }), ['userId']],
  TagResource: [new TagResourceCommand({ resourceArn: 'arn:aws:s3:::bucket', tags: { a: 'b' } }), ['resourceArn']],
  UntagResource: [
    new UntagResourceCommand({
      resourceArn: UNKNOWN_ROOM,
      tagKeys: Array.from({ length: 51 }, (_, index) => `${index}`),
    }),
    ['tagKeys'],
  ],
  ListTagsForResource: [new ListTagsForResourceCommand({ resourceArn: 'x' }), ['resourceArn']],
};

for (const [operation, [command, names]] of Object.entries(refused)) {
  check(`${operation} names every member that is not allowed`, [operation], async () => {
    const error = await failureOf(command);
    assert.ok(error instanceof ValidationException, `${error.name}: ${error.message}`);
    assert.equal(error.$metadata.httpStatusCode, 400);
    assert.equal(error.reason, 'FIELD_VALIDATION_FAILED');
    // A member inside a list or structure may be named by its path; the member of the request comes first in it.
    const named = new Set(error.fieldList.map(({ name }) => name.split(/[.[]/)[0]));
    assert.deepEqual([...named].sort(), names);
    for (const { message } of error.fieldList) assert.match(message, /\S/);
  });
}

check('a page token that the server did not make is refused', ['ListRooms', 'ListLoggingConfigurations'], async () => {
  for (const command of [
    new ListRoomsCommand({ nextToken: 'made-up' }),
    new ListLoggingConfigurationsCommand({ nextToken: 'made-up' }),
  ]) {
    const error = await failureOf(command);
    assert.ok(error instanceof ValidationException, `${error.name}: ${error.message}`);
  }
});

check('a logging configuration in use cannot be deleted', ['DeleteLoggingConfiguration', 'UpdateRoom'], async () => {
  const configuration = await send(
    client,
    new CreateLoggingConfigurationCommand({ destinationConfiguration: { s3: { bucketName: 'in-use' } } }),
  );
  const room = await createRoom(client, { loggingConfigurationIdentifiers: [configuration.arn] });
  const remove = new DeleteLoggingConfigurationCommand({ identifier: configuration.arn });
  const error = await failureOf(remove);
  assert.ok(error instanceof ConflictException, `${error.name}: ${error.message}`);
  assert.equal(error.$metadata.httpStatusCode, 409);
  assert.deepEqual([error.resourceId, error.resourceType], [configuration.id, 'ROOM']);
  assert.equal(error.message, `Resource: ${configuration.arn} is in use by a room`);

  await send(client, new UpdateRoomCommand({ identifier: room.arn, loggingConfigurationIdentifiers: [] }));
  await send(client, remove);
});

check('a room of another region is not found', ['GetRoom'], async () => {
  const room = await createRoom(client);
  const error = await failureOf(new GetRoomCommand({ identifier: room.arn }), { region: 'eu-west-1' });
  assert.ok(error instanceof ResourceNotFoundException, `${error.name}: ${error.message}`);
});

check('a wrong secret is an InvalidSignatureException', ['ListRooms'], async () => {
  const error = await failureOf(new ListRoomsCommand({}), {
    credentials: { ...CREDENTIALS, secretAccessKey: 'wrong' },
  });
  assert.equal(error.name, 'InvalidSignatureException');
  assert.equal(error.$metadata.httpStatusCode, 403);
  assert.ok(!error.message.includes(CREDENTIALS.secretAccessKey));
});

check('an unknown access key is an UnrecognizedClientException', ['ListRooms'], async () => {
  const error = await failureOf(new ListRoomsCommand({}), {
    credentials: { ...CREDENTIALS, accessKeyId: 'AKIDNOBODY' },
  });
  assert.equal(error.name, 'UnrecognizedClientException');
  assert.equal(error.$metadata.httpStatusCode, 403);
});

check('a request without a signature is a MissingAuthenticationTokenException', ['ListRooms'], async () => {
  const error = await failureOf(new ListRoomsCommand({}), { signer: { sign: async (request) => request } });
  assert.equal(error.name, 'MissingAuthenticationTokenException');
  assert.equal(error.$metadata.httpStatusCode, 403);
});

for (const minutes of [-20, 20]) {
  check(`a clock that is ${minutes} minutes off is corrected by the Date header`, ['ListRooms'], async () => {
    const skewed = controlClient(server, { systemClockOffset: minutes * 60_000 });
    try {
      const first = await skewed.send(new ListRoomsCommand({}));
      assert.equal(first.$metadata.attempts, 2, 'the first attempt is refused, the second has the server’s time');
      assert.ok(Math.abs(skewed.config.systemClockOffset) < 5_000);
      const second = await skewed.send(new ListRoomsCommand({}));
      assert.equal(second.$metadata.attempts, 1);
    } finally {
      skewed.destroy();
    }
  });
}

check('an event whose attributes are over 4 KB is refused by the member’s name', ['SendEvent'], async () => {
  const { arn: roomIdentifier } = await createRoom(client);
  const attributes = { key: 'x'.repeat(4_096 - 'key'.length) };
  await send(client, new SendEventCommand({ roomIdentifier, eventName: 'e', attributes }));
  const error = await failureOf(
    new SendEventCommand({ roomIdentifier, eventName: 'e', attributes: { key: `${attributes.key}x` } }),
  );
  assert.ok(error instanceof ValidationException, `${error.name}: ${error.message}`);
  assert.deepEqual(
    error.fieldList.map(({ name }) => name),
    ['attributes'],
  );
});

check('a body over 64 KiB is a typed 413', ['SendEvent'], async () => {
  const { arn: roomIdentifier } = await createRoom(client);
  const error = await failureOf(
    new SendEventCommand({ roomIdentifier, eventName: 'e', attributes: { key: 'x'.repeat(70_000) } }),
  );
  assert.equal(error.$metadata.httpStatusCode, 413);
  assert.equal(error.name, 'RequestEntityTooLargeException');
});
