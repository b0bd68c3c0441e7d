"""The limits profile `aws` on the messaging edge: connections and messages over all rooms of an account in a region."""

import itertools
import time

import pytest

import clients
from edge import ChatSocket, Refused, refusal

SECONDS_MAX = 60
# Of the server, lowered.
QUOTAS = {"GRANDSTAND_LIMITS_CONNECTIONS": "2", "GRANDSTAND_LIMITS_SEND_MESSAGE_REQUESTS_PER_SECOND": "4"}
REGIONS = (f"edge-quotas-{number}" for number in itertools.count(1))


def tokens(server, region, count):
    """Chat tokens for as many rooms, all of one account and region."""
    chat = clients.ivschat(server, region=region)

    def token(room):
        return chat.create_chat_token(roomIdentifier=room, userId="u", capabilities=["SEND_MESSAGE"])["token"]

    return [token(chat.create_room(maximumMessageRatePerSecond=100)["arn"]) for _ in range(count)]


@pytest.mark.covers("CreateChatToken")
def test_beyond_the_quota_of_connections_a_handshake_is_refused_and_its_token_stays_good(strict_server):
    one, two, three = tokens(strict_server, next(REGIONS), 3)
    (elsewhere,) = tokens(strict_server, next(REGIONS), 1)
    first, second = ChatSocket(strict_server.edge, one), ChatSocket(strict_server.edge, two)
    crowded = (429, "the account has as many chat connections as its quota allows")
    assert refusal(strict_server.edge, three) == crowded
    ChatSocket(strict_server.edge, elsewhere).close()
    first.close()
    # The server hears of that in its own time.
    give_up_at = time.monotonic() + SECONDS_MAX
    while True:
        try:
            ChatSocket(strict_server.edge, three).close()
            break
        except Refused as refused:
            assert (refused.status, refused.body.decode()) == (429, f"{crowded[1]}\n")
            assert time.monotonic() < give_up_at, "the place stays taken"
    second.close()


@pytest.mark.covers("SEND_MESSAGE", "frame:ERROR")
def test_all_rooms_of_an_account_share_a_rate_of_messages(strict_server):
    one, two = tokens(strict_server, next(REGIONS), 2)
    with ChatSocket(strict_server.edge, one) as ann, ChatSocket(strict_server.edge, two) as bob:
        give_up_at = time.monotonic() + SECONDS_MAX
        while True:
            # Three each: within the rate of every connection and room, and beyond the account's.
            for _ in range(3):
                ann.send_json({"Action": "SEND_MESSAGE", "Content": "hi"})
                bob.send_json({"Action": "SEND_MESSAGE", "Content": "hi"})
            answers = [socket.receive_json() for socket in (ann, bob) for _ in range(3)]
            refused = [answer for answer in answers if answer["Type"] == "ERROR"]
            if refused:
                assert (refused[0]["ErrorCode"], refused[0]["ErrorMessage"]) == (429, "rate limit exceeded")
                return
            assert time.monotonic() < give_up_at, "never refused"
