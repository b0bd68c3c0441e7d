"""Unmodified AWS clients, pointed at the server the way a user would."""

from datetime import datetime, timedelta, timezone

import boto3
from botocore.config import Config

from server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY


def ivschat(
    server, *, region=REGION, access_key_id=ACCESS_KEY_ID, secret=SECRET_ACCESS_KEY, session_token=None, certificate=None,
    config=None,
):  # fmt: skip
    """A boto3 client that tries once, so that a test sees the answer it asked for, unless its `config` says otherwise;
    with TLS it trusts `certificate`.
    """
    once = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=15, max_pool_connections=64)
    return boto3.client(
        "ivschat",
        endpoint_url=server.api,
        region_name=region,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
        aws_session_token=session_token,
        verify=certificate,
        config=once.merge(config) if config else once,
    )


def body_of(response):
    """A response without the metadata that boto3 adds."""
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


def members_of(error):
    """What an error of botocore says of its cause: its members, without what botocore adds."""
    return {name: value for name, value in error.response.items() if name not in ("Error", "ResponseMetadata")}


def is_now(moment):
    """Whether a time of the server is within a minute of ours, in UTC and of whole milliseconds."""
    near = abs(datetime.now(timezone.utc) - moment) < timedelta(minutes=1)
    return near and moment.utcoffset() == timedelta(0) and moment.microsecond % 1000 == 0
