"""Message review by real Lambda functions: in Python and in Node, which an emulator runs, and in Rust on `cargo-lambda`."""

import pytest

import clients
from edge import ChatSocket
from emulator import ACCOUNT, CREDENTIALS, CargoLambda, Emulator
from handlers import function_arn
from server import Server

PYTHON = """
def handler(event, context):
    content = event["Content"]
    if content == "raise":
        raise ValueError("on purpose")
    if content == "rude":
        return {"ReviewResult": "DENY", "Content": "", "Attributes": {"Reason": "No rude words"}}
    if content == "as it is":
        return {"ReviewResult": "ALLOW", "Content": content}
    return {"ReviewResult": "ALLOW", "Content": content + " [reviewed for " + event["Sender"]["UserId"] + "]"}
"""
NODE = """
exports.handler = async (event) => {
  if (event.Content === 'raise') throw new Error('on purpose');
  if (event.Content === 'rude') return { ReviewResult: 'DENY', Attributes: { Reason: 'No rude words' } };
  if (event.Content === 'as it is') return { ReviewResult: 'ALLOW', Content: event.Content };
  return { ReviewResult: 'ALLOW', Content: `${event.Content} [reviewed for ${event.Sender.UserId}]` };
};
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    emulator = Emulator(tmp_path_factory.mktemp("emulator"))
    yield emulator
    emulator.stop()


@pytest.fixture(scope="module")
def server(emulator, tmp_path_factory):
    """A server that asks functions of the emulator, and has the time for a cold start."""
    environment = CREDENTIALS | {
        "AWS_ENDPOINT_URL_LAMBDA": emulator.url,
        "GRANDSTAND_REVIEW_TIMEOUT_MS": "60000",
        "GRANDSTAND_REVIEW_CHECK_HANDLERS": "true",
        "GRANDSTAND_ACCOUNT_ID": ACCOUNT,
    }
    server = Server(tmp_path_factory.mktemp("lambda") / "data", environment=environment).start()
    yield server
    server.stop()


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE", "frame:ERROR", "CreateRoom")
@pytest.mark.parametrize(
    ("runtime", "file", "source"), [("python3.11", "review.py", PYTHON), ("nodejs20.x", "review.js", NODE)]
)
def test_a_real_function_decides(emulator, server, runtime, file, source):
    arn = emulator.create_function(f"review-{runtime.split('.')[0]}", runtime, file, source)
    check_decisions(server, arn)


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE", "frame:ERROR")
def test_a_real_function_in_rust_decides(tmp_path):
    with CargoLambda(tmp_path) as lambdas:
        environment = CREDENTIALS | {"AWS_ENDPOINT_URL_LAMBDA": lambdas.url, "GRANDSTAND_REVIEW_TIMEOUT_MS": "60000"}
        server = Server(tmp_path / "data", environment=environment).start()
        check_decisions(server, function_arn("review"))
        server.stop()


def check_decisions(server, arn):
    """What the functions make of messages; they all do the same."""
    chat = clients.ivschat(server)
    room = chat.create_room(messageReviewHandler={"uri": arn, "fallbackResult": "DENY"})
    token = chat.create_chat_token(roomIdentifier=room["arn"], userId="ann", capabilities=["SEND_MESSAGE"])["token"]
    socket = ChatSocket(server.edge, token)
    socket.socket.settimeout(70)
    assert socket.act(Action="SEND_MESSAGE", Content="as it is")["Content"] == "as it is"
    assert socket.act(Action="SEND_MESSAGE", Content="hi")["Content"] == "hi [reviewed for ann]"
    refused = socket.act(Action="SEND_MESSAGE", Content="rude")
    assert (refused["ErrorCode"], refused["ErrorMessage"]) == (406, "No rude words")
    assert socket.act(Action="SEND_MESSAGE", Content="raise")["ErrorCode"] == 406
    chat.update_room(identifier=room["arn"], messageReviewHandler={"fallbackResult": "ALLOW"})
    assert socket.act(Action="SEND_MESSAGE", Content="raise")["Content"] == "raise"
    socket.close()
