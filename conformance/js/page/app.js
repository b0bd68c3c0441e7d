// A chat page with several participants: each is a section that shows only what the messaging SDK told it.
//
// The query of the page's address says where the edge is and who takes part; tokens come from the page's own origin.

import { ChatRoom, DeleteMessageRequest, DisconnectUserRequest, SendMessageRequest } from 'amazon-ivs-chat-messaging';

const query = new URLSearchParams(location.search);

async function fetchToken(userId) {
  const response = await fetch(`/tokens/${encodeURIComponent(userId)}`, { method: 'POST' });
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return response.json();
}

function addParticipant(userId) {
  const section = document.getElementById('participant').content.cloneNode(true).firstElementChild;
  section.id = userId;
  section.querySelector('h2').textContent = userId;
  document.body.append(section);

  const chat = new ChatRoom({ regionOrUrl: query.get('edge'), tokenProvider: () => fetchToken(userId) });
  chat.logLevel = 'error';
  showStates(section, chat);
  showMessages(section, chat);
  offerActions(section, chat);
  chat.connect();
}

function line(list, text) {
  const item = document.createElement('li');
  item.textContent = text;
  list.append(item);
  return item;
}

function showStates(section, chat) {
  const show = (text) => {
    section.querySelector('.state').textContent = text;
    line(section.querySelector('.states'), text);
  };
  chat.addListener('connecting', () => show('connecting'));
  chat.addListener('connect', () => show('connected'));
  chat.addListener('disconnect', (reason) => show(`disconnected: ${reason}`));
}

function showMessages(section, chat) {
  const messages = section.querySelector('.messages');
  chat.addListener('message', ({ id, sender, content }) => {
    const item = line(messages, `${sender.attributes.name ?? sender.userId}: ${content}`);
    item.dataset.id = id;
    const button = document.createElement('button');
    button.textContent = 'Delete';
    button.addEventListener('click', () =>
      report(section, chat.deleteMessage(new DeleteMessageRequest(id, 'not nice'))),
    );
    item.append(' ', button);
  });
  chat.addListener('messageDelete', ({ messageId, reason }) => {
    const item = [...messages.children].find(({ dataset }) => dataset.id === messageId);
    item.textContent = `deleted (${reason})`;
  });
  chat.addListener('userDisconnect', ({ userId, reason }) => notice(section, `${userId} was disconnected (${reason})`));
  chat.addListener('event', ({ eventName, attributes }) =>
    notice(section, `${eventName} ${JSON.stringify(attributes)}`),
  );
}

function offerActions(section, chat) {
  const onSubmit = (form, act) =>
    section.querySelector(form).addEventListener('submit', (event) => {
      event.preventDefault();
      report(section, act(new FormData(event.target)));
      event.target.reset();
    });
  onSubmit('.send', (data) => chat.sendMessage(new SendMessageRequest(data.get('content'))));
  onSubmit('.kick', (data) => chat.disconnectUser(new DisconnectUserRequest(data.get('userId'), 'not welcome')));
}

function notice(section, text) {
  line(section.querySelector('.notices'), text);
}

async function report(section, request) {
  try {
    await request;
    notice(section, 'done');
  } catch ({ errorCode, errorMessage }) {
    notice(section, `error ${errorCode}: ${errorMessage}`);
  }
}

for (const userId of query.getAll('user')) addParticipant(userId);
