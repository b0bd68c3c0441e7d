// Message review as the official chat messaging SDK, unmodified, shows it to an application.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after } from 'node:test';

import { SendMessageRequest } from 'amazon-ivs-chat-messaging';

import { createRoom, startStage } from './control.mjs';
import { joined } from './participant.mjs';
import { suite } from './results.mjs';

const check = suite({ name: 'js-review', file: import.meta.url, client: 'amazon-ivs-chat-messaging' });

/** A function that denies what is rude and puts all else into other words, behind the Invoke API. */
const lambda = createServer(async (request, response) => {
  let body = '';
  for await (const piece of request.setEncoding('utf8')) body += piece;
  const { Content } = JSON.parse(body);
  const verdict =
    Content === 'rude'
      ? { ReviewResult: 'DENY', Content: '', Attributes: { Reason: 'No rude words' } }
      : { ReviewResult: 'ALLOW', Content: `${Content}, politely`, Attributes: { reviewed: 'yes' } };
  response.end(JSON.stringify(verdict));
}).listen(0, '127.0.0.1');
await once(lambda, 'listening');
after(() => {
  lambda.close();
  lambda.closeAllConnections();
});

const { server, client } = await startStage({
  AWS_ENDPOINT_URL_LAMBDA: `http://127.0.0.1:${lambda.address().port}`,
  AWS_ACCESS_KEY_ID: 'AKIDREVIEW',
  AWS_SECRET_ACCESS_KEY: 'of-no-value',
  GRANDSTAND_REVIEW_TIMEOUT_MS: '60000',
});
const uri = 'arn:aws:lambda:us-west-2:123456789012:function:review';
const room = await createRoom(client, { messageReviewHandler: { uri, fallbackResult: 'DENY' } });
const ann = await joined({ client, edge: server.edge, room, userId: 'ann' });

check('a denied message rejects with 406 and its reason', ['SEND_MESSAGE', 'frame:ERROR'], async () => {
  const error = await ann.chat.sendMessage(new SendMessageRequest('rude')).then(
    (answer) => assert.fail(`expected an error, got ${JSON.stringify(answer)}`),
    (refused) => refused,
  );
  assert.equal(error.errorCode, 406);
  assert.equal(error.errorMessage, 'No rude words');
});

check('an allowed message resolves as its handler has changed it', ['SEND_MESSAGE', 'frame:MESSAGE'], async () => {
  const sent = await ann.chat.sendMessage(new SendMessageRequest('hi', { k: 'v' }));
  assert.equal(sent.content, 'hi, politely');
  assert.deepEqual(sent.attributes, { reviewed: 'yes' });
});
