// The AWS SDK for JavaScript v3, unmodified, against the control plane: every operation with its whole answer.
//
// What the SDK hands to an application is compared key by key: times are Dates, what was not set is absent.

import assert from 'node:assert/strict';

import {
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
  SendEventCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateLoggingConfigurationCommand,
  UpdateRoomCommand,
  paginateListRooms,
} from '@aws-sdk/client-ivschat';

import { EVERY_CAPABILITY, createRoom, send, startStage } from './control.mjs';
import { suite } from './results.mjs';
import { ACCOUNT_ID, REGION } from './server.mjs';

const check = suite({ name: 'js-sdk', file: import.meta.url, client: '@aws-sdk/client-ivschat' });
const { client } = await startStage();

const ID = /^[a-zA-Z0-9]{12}$/;
const HANDLER_URI = `arn:aws:lambda:${REGION}:${ACCOUNT_ID}:function:review`;

const arnOf = (kind, id) => `arn:aws:ivschat:${REGION}:${ACCOUNT_ID}:${kind}/${id}`;
const createConfiguration = (settings) => send(client, new CreateLoggingConfigurationCommand(settings));
const getRoom = (identifier) => send(client, new GetRoomCommand({ identifier }));

/** The rooms of one page, as ListRooms shows a room that is known in full. */
function summaryOf({ maximumMessageLength, maximumMessageRatePerSecond, ...summary }) {
  return summary;
}

function assertRecent(time) {
  assert.ok(time instanceof Date);
  assert.ok(Math.abs(time - Date.now()) < 60_000, `${time.toISOString()} is not now`);
}

check('a room gets its defaults, and is the same when it is read', ['CreateRoom', 'GetRoom'], async () => {
  const room = await send(client, new CreateRoomCommand({}));
  assert.match(room.id, ID);
  assertRecent(room.createTime);
  assert.deepEqual(room, {
    arn: arnOf('room', room.id),
    id: room.id,
    name: '',
    createTime: room.createTime,
    updateTime: room.createTime,
    maximumMessageLength: 500,
    maximumMessageRatePerSecond: 10,
    tags: {},
  });
  assert.deepEqual(await getRoom(room.arn), room);
});

check('a room keeps everything it is given', ['CreateRoom', 'GetRoom', 'CreateLoggingConfiguration'], async () => {
  const configuration = await createConfiguration({ destinationConfiguration: { s3: { bucketName: 'chat-logs' } } });
  const settings = {
    name: 'all-of-it_1',
    maximumMessageLength: 140,
    maximumMessageRatePerSecond: 25,
    messageReviewHandler: { uri: HANDLER_URI, fallbackResult: 'DENY' },
    loggingConfigurationIdentifiers: [configuration.arn],
    tags: { team: 'chat', empty: '' },
  };
  const room = await send(client, new CreateRoomCommand(settings));
  const { arn, id, createTime } = room;
  assert.deepEqual(room, { arn, id, createTime, updateTime: createTime, ...settings });
  assert.deepEqual(await getRoom(arn), room);
});

check('an update changes what it names and nothing else', ['UpdateRoom', 'GetRoom'], async () => {
  const configuration = await createConfiguration({
    destinationConfiguration: { firehose: { deliveryStreamName: 'chat' } },
  });
  const room = await createRoom(client, {
    name: 'before',
    messageReviewHandler: { uri: HANDLER_URI },
    loggingConfigurationIdentifiers: [configuration.arn],
    tags: { kept: 'yes' },
  });
  assert.deepEqual(room.messageReviewHandler, { uri: HANDLER_URI, fallbackResult: 'ALLOW' });

  const renamed = await send(
    client,
    new UpdateRoomCommand({ identifier: room.arn, name: 'after', maximumMessageLength: 7 }),
  );
  assert.ok(renamed.updateTime > room.updateTime);
  assert.deepEqual(renamed, { ...room, name: 'after', maximumMessageLength: 7, updateTime: renamed.updateTime });
  assert.deepEqual(await getRoom(room.arn), renamed);

  const detached = await send(
    client,
    new UpdateRoomCommand({ identifier: room.arn, loggingConfigurationIdentifiers: [] }),
  );
  const { loggingConfigurationIdentifiers: _detached, ...kept } = renamed;
  assert.deepEqual(detached, { ...kept, updateTime: detached.updateTime });

  const unreviewed = await send(
    client,
    new UpdateRoomCommand({ identifier: room.arn, messageReviewHandler: { uri: '' } }),
  );
  const { messageReviewHandler: _dissociated, ...rest } = kept;
  assert.deepEqual(unreviewed, { ...rest, updateTime: unreviewed.updateTime });
  assert.deepEqual(await getRoom(room.arn), unreviewed);
});

check('a deleted room is gone', ['DeleteRoom', 'GetRoom'], async () => {
  const room = await createRoom(client);
  const answer = await client.send(new DeleteRoomCommand({ identifier: room.arn }));
  assert.equal(answer.$metadata.httpStatusCode, 204);
  await assert.rejects(getRoom(room.arn), { name: 'ResourceNotFoundException' });
  await assert.rejects(send(client, new DeleteRoomCommand({ identifier: room.arn })), {
    name: 'ResourceNotFoundException',
  });
});

check('rooms are listed page by page, the latest change first, each once', ['ListRooms'], async () => {
  const rooms = [];
  for (let index = 0; index < 7; index += 1)
    rooms.push(await createRoom(client, { name: 'paged', tags: { index: `${index}` } }));
  const touched = await send(client, new UpdateRoomCommand({ identifier: rooms[2].arn, maximumMessageLength: 9 }));
  const expected = [touched, ...rooms.filter(({ id }) => id !== touched.id).reverse()].map(summaryOf);

  const pages = [];
  for await (const page of paginateListRooms({ client, pageSize: 3 }, { name: 'paged' })) pages.push(page);
  assert.deepEqual(
    pages.map((page) => page.rooms.length),
    [3, 3, 1],
  );
  assert.deepEqual(
    pages.flatMap((page) => page.rooms),
    expected,
  );
  assert.equal(pages.at(-1).nextToken, undefined);
});

check('rooms are found by handler, by logging configuration, and by all filters together', ['ListRooms'], async () => {
  const uri = `${HANDLER_URI}:filters`;
  const { arn: configuration } = await createConfiguration({
    destinationConfiguration: { s3: { bucketName: 'filters' } },
  });
  const reviewed = await createRoom(client, { name: 'filters', messageReviewHandler: { uri } });
  const logged = await createRoom(client, { name: 'filters', loggingConfigurationIdentifiers: [configuration] });
  const both = await createRoom(client, {
    name: 'filters',
    messageReviewHandler: { uri },
    loggingConfigurationIdentifiers: [configuration],
  });
  const found = async (filters) => (await send(client, new ListRoomsCommand(filters))).rooms.map(({ id }) => id);

  assert.deepEqual(await found({ messageReviewHandlerUri: uri }), [both.id, reviewed.id]);
  assert.deepEqual(await found({ loggingConfigurationIdentifier: configuration }), [both.id, logged.id]);
  assert.deepEqual(
    await found({ name: 'filters', messageReviewHandlerUri: uri, loggingConfigurationIdentifier: configuration }),
    [both.id],
  );
  assert.deepEqual(await found({ name: 'filter' }), []);
});

check(
  'a logging configuration lives through create, get, list, update and delete',
  [
    'CreateLoggingConfiguration',
    'GetLoggingConfiguration',
    'ListLoggingConfigurations',
    'UpdateLoggingConfiguration',
    'DeleteLoggingConfiguration',
  ],
  async () => {
    const destinationConfiguration = { cloudWatchLogs: { logGroupName: '/chat/log-group.1' } };
    const made = await createConfiguration({ name: 'made', destinationConfiguration, tags: { team: 'chat' } });
    assert.match(made.id, ID);
    assertRecent(made.createTime);
    const { id, createTime, updateTime } = made;
    assertRecent(updateTime);
    assert.deepEqual(made, {
      arn: arnOf('logging-configuration', id),
      id,
      createTime,
      updateTime,
      name: 'made',
      destinationConfiguration,
      state: 'ACTIVE',
      tags: { team: 'chat' },
    });
    assert.ok(updateTime >= createTime);
    assert.equal((await createConfiguration({ destinationConfiguration })).name, '');
    assert.deepEqual(await send(client, new GetLoggingConfigurationCommand({ identifier: made.arn })), made);

    const listed = await send(client, new ListLoggingConfigurationsCommand({ maxResults: 50 }));
    assert.deepEqual(
      listed.loggingConfigurations.find((entry) => entry.id === id),
      made,
    );

    const moved = { firehose: { deliveryStreamName: 'moved.stream_1' } };
    const changed = await send(
      client,
      new UpdateLoggingConfigurationCommand({ identifier: made.arn, destinationConfiguration: moved }),
    );
    assert.deepEqual(changed, { ...made, destinationConfiguration: moved, updateTime: changed.updateTime });
    assert.ok(changed.updateTime > updateTime);

    const gone = await client.send(new DeleteLoggingConfigurationCommand({ identifier: made.arn }));
    assert.equal(gone.$metadata.httpStatusCode, 204);
    await assert.rejects(send(client, new GetLoggingConfigurationCommand({ identifier: made.arn })), {
      name: 'ResourceNotFoundException',
      resourceId: id,
    });
  },
);

check('logging configurations are listed page by page, each once', ['ListLoggingConfigurations'], async () => {
  const made = new Set();
  for (let index = 0; index < 5; index += 1) {
    const { id } = await createConfiguration({ destinationConfiguration: { s3: { bucketName: `paged-${index}` } } });
    made.add(id);
  }
  const seen = [];
  let nextToken;
  do {
    const page = await send(client, new ListLoggingConfigurationsCommand({ maxResults: 2, nextToken }));
    assert.ok(page.loggingConfigurations.length <= 2);
    seen.push(...page.loggingConfigurations.map(({ id }) => id));
    nextToken = page.nextToken;
  } while (nextToken);
  assert.equal(new Set(seen).size, seen.length);
  assert.ok([...made].every((id) => seen.includes(id)));
});

check(
  'both kinds of resource are tagged, untagged and show their tags',
  ['TagResource', 'UntagResource', 'ListTagsForResource'],
  async () => {
    const room = await createRoom(client, { tags: { first: '1', second: '2' } });
    const configuration = await createConfiguration({
      destinationConfiguration: { s3: { bucketName: 'tagged' } },
      tags: { first: '1', second: '2' },
    });
    for (const { arn } of [room, configuration]) {
      const tags = async () => send(client, new ListTagsForResourceCommand({ resourceArn: arn }));
      const added = { second: 'two', 'a key/with:odd=signs+': 'ÿ é' };
      assert.deepEqual(await send(client, new TagResourceCommand({ resourceArn: arn, tags: added })), {});
      assert.deepEqual(await tags(), { tags: { first: '1', ...added } });
      const tagKeys = ['first', 'a key/with:odd=signs+', 'never there'];
      assert.deepEqual(await send(client, new UntagResourceCommand({ resourceArn: arn, tagKeys })), {});
      assert.deepEqual(await tags(), { tags: { second: 'two' } });
    }
    const { updateTime } = await getRoom(room.arn);
    assert.deepEqual(updateTime, room.updateTime, 'tagging does not move a room in the list');
  },
);

check('a chat token comes with the ends of its life and of the session', ['CreateChatToken'], async () => {
  const room = await createRoom(client);
  const request = {
    roomIdentifier: room.arn,
    userId: 'Zoë 1',
    sessionDurationInMinutes: 30,
    attributes: { name: 'Zoë' },
  };
  const before = Date.now();
  const answer = await send(client, new CreateChatTokenCommand({ ...request, capabilities: EVERY_CAPABILITY }));
  assert.deepEqual(Object.keys(answer).sort(), ['sessionExpirationTime', 'token', 'tokenExpirationTime']);
  assert.match(answer.token, /^[\w!#$%&'*+.^`|~-]+$/, 'every character is legal in Sec-WebSocket-Protocol');
  const sessionMs = answer.sessionExpirationTime - before;
  assert.ok(sessionMs >= 30 * 60_000 - 1_000 && sessionMs < 30 * 60_000 + 5_000, `the session lasts ${sessionMs} ms`);
  assert.ok(answer.tokenExpirationTime <= answer.sessionExpirationTime);
  assert.ok(answer.tokenExpirationTime - before > 26 * 60_000);

  const other = await send(client, new CreateChatTokenCommand(request));
  assert.notEqual(other.token, answer.token);
});

check(
  'moderation and events from the API answer as modelled',
  ['SendEvent', 'DeleteMessage', 'DisconnectUser'],
  async () => {
    const { arn: roomIdentifier } = await createRoom(client);
    const event = await send(
      client,
      new SendEventCommand({ roomIdentifier, eventName: 'app:PING', attributes: { a: 'b' } }),
    );
    assert.deepEqual(Object.keys(event), ['id']);
    assert.match(event.id, ID);
    const bare = await send(client, new SendEventCommand({ roomIdentifier, eventName: 'app:PING' }));
    assert.notEqual(bare.id, event.id);

    const deletion = await send(
      client,
      new DeleteMessageCommand({ roomIdentifier, id: 'AbCdEfGh1234', reason: 'spam' }),
    );
    assert.deepEqual(Object.keys(deletion), ['id']);
    assert.match(deletion.id, ID);

    assert.deepEqual(
      await send(client, new DisconnectUserCommand({ roomIdentifier, userId: 'nobody here', reason: 'gone' })),
      {},
    );
  },
);
