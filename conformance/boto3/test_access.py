"""boto3: who gets in. Wrong secrets, unknown keys, clocks that are off, presigned requests."""

from datetime import datetime, timedelta, timezone
from unittest import mock

import botocore.auth
import pytest
import urllib3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import clients
from server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY


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


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_that_is_off_is_an_invalid_signature_that_says_so(server, minutes):
    # botocore asks its own clock in one place; boto3 itself is untouched.
    wrong = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: wrong.replace(tzinfo=None)):
        code, message = refused(clients.ivschat(server).list_rooms)
    assert code == "InvalidSignatureException"
    assert "expired" in message.lower() or "not yet current" in message.lower()


def presigned(server, method, path, *, expires=60, body=b"", secret=SECRET_ACCESS_KEY):
    """Sends a request whose signature is in the query."""
    request = AWSRequest(method=method, url=server.api + path, data=body)
    SigV4QueryAuth(Credentials(ACCESS_KEY_ID, secret), "ivschat", REGION, expires=expires).add_auth(request)
    return urllib3.request(method, request.url, body=body, retries=False, timeout=10)


@pytest.mark.covers("ListTagsForResource", "CreateRoom")
def test_presigned_requests(server, chat, room):
    chat.tag_resource(resourceArn=room["arn"], tags={"a": "b"})
    path = "/tags/" + room["arn"].replace(":", "%3A").replace("/", "%2F")
    answer = presigned(server, "GET", path)
    assert (answer.status, answer.json()) == (200, {"tags": {"a": "b"}})
    answer = presigned(server, "POST", "/GetRoom", body=b'{"identifier":"%s"}' % room["arn"].encode())
    assert (answer.status, answer.json()["id"]) == (200, room["id"])
    answer = presigned(server, "GET", path, secret="wrong")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")


def test_boto3_generates_presigned_urls_that_work(server, chat, room):
    url = chat.generate_presigned_url("list_tags_for_resource", Params={"resourceArn": room["arn"]}, ExpiresIn=60)
    answer = urllib3.request("GET", url, retries=False, timeout=10)
    assert (answer.status, answer.json()) == (200, {"tags": {}})
