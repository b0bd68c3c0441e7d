"""boto3: who gets in. Wrong secrets, unknown keys, clocks that are off, presigned requests."""

from datetime import datetime, timedelta, timezone
from unittest import mock

import botocore.auth
import pytest
import urllib3
from botocore.exceptions import ClientError

import clients
from server import SECRET_ACCESS_KEY


def refused(call):
    """The error of a call that must fail with 403, and its name."""
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert SECRET_ACCESS_KEY not in str(response)
    return response["Error"]["Code"], response["Error"]["Message"]


@pytest.mark.covers("ListRooms")
def test_a_wrong_secret_is_an_invalid_signature(server):
    code, message = refused(clients.ivschat(server, secret="wrong").list_rooms)
    assert code == "InvalidSignatureException" and message


@pytest.mark.covers("ListRooms")
def test_an_unknown_key_is_an_unrecognized_client(server):
    code, message = refused(clients.ivschat(server, access_key_id="AKIDUNKNOWN").list_rooms)
    assert code == "UnrecognizedClientException" and message


@pytest.mark.covers("ListRooms")
def test_a_session_token_makes_an_unrecognized_client(server):
    code, message = refused(clients.ivschat(server, session_token="of an earlier login").list_rooms)
    assert code == "UnrecognizedClientException" and message


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_that_is_off_is_an_invalid_signature_that_says_so(server, minutes):
    # botocore asks its own clock in one place; boto3 itself is untouched.
    wrong = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: wrong.replace(tzinfo=None)):
        code, message = refused(clients.ivschat(server).list_rooms)
    assert code == "InvalidSignatureException"
    assert "expired" in message.lower() or "not yet current" in message.lower()


@pytest.mark.covers("ListTagsForResource")
def test_boto3_generates_presigned_urls_that_work(server, chat, room):
    url = chat.generate_presigned_url("list_tags_for_resource", Params={"resourceArn": room["arn"]}, ExpiresIn=60)
    answer = urllib3.request("GET", url, retries=False, timeout=10)
    assert (answer.status, answer.json()) == (200, {"tags": {}})
