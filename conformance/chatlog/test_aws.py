"""Chat logs at services that speak like AWS: emulators that nobody here wrote, and a fake of ours that is stricter and fails
as it is told, behind a line that can be cut.
"""

import gzip
import json
import re
import time
import urllib.request

import boto3
import pytest
from botocore.config import Config

import clients
from crowd import DESTINATIONS, Hall, Speaker, check_log, enter, id_of, ids, settle, talk_together
from emulators import emulator
from server import REGION, get

DEADLINE_SECONDS = 60
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDFAKE000000000000", "AWS_SECRET_ACCESS_KEY": "secret-of-the-fake"}


def until(what, look):
    """What `look` finds, once it is something."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        # An emulator tells nobody of what it gets.
        time.sleep(0.05)
    return found


def hall_at(start, url, **how):
    """Logged rooms on a server whose destinations are at `url`."""
    server = start(AWS_ENDPOINT_URL=url, **KEYS)
    return Hall(server, clients.ivschat(server), **how)


def metric(server, name, configuration):
    """What a metric says of a logging configuration."""
    label = f'{name}{{logging_configuration="{id_of(configuration)}"}} '
    found = re.search(rf"^{re.escape(label)}(\d+)", get(server.admin, "/metrics")[2], re.M)
    return int(found[1]) if found else 0


def client_of(service, url, key=("test", "test")):
    """A boto3 client of an emulator."""
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=key[0], aws_secret_access_key=key[1],
        config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip


def all_events(logs, room):
    """All messages of a room's log stream, in the order of the stream."""
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName="chat-logs", logStreamNames=[f"aws/IVSChatLogs/1.0/room_{id_of(room)}"]
    )
    return [event["message"] for page in pages for event in page["events"]]


def test_s3_and_cloudwatch_logs_of_moto_take_what_we_sign(start, tmp_path):
    with emulator("moto", tmp_path) as url:
        iam = client_of("iam", url)
        iam.create_user(UserName="grandstand")
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "logs:*"], "Resource": "*"}]}
        iam.put_user_policy(UserName="grandstand", PolicyName="all", PolicyDocument=json.dumps(allowed))
        pair = iam.create_access_key(UserName="grandstand")["AccessKey"]
        key = (pair["AccessKeyId"], pair["SecretAccessKey"])
        s3, logs = client_of("s3", url, key), client_of("logs", url, key)
        s3.create_bucket(Bucket="chat-logs", CreateBucketConfiguration={"LocationConstraint": REGION})
        logs.create_log_group(logGroupName="chat-logs")
        # From now on moto verifies signatures and policies.
        reset = urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", {"content-type": "text/plain"}, method="POST")
        urllib.request.urlopen(reset).close()

        def server_with(secret):
            server = start(AWS_ENDPOINT_URL=url, AWS_ACCESS_KEY_ID=key[0], AWS_SECRET_ACCESS_KEY=secret)
            return Hall(server, clients.ivschat(server), rooms=2, kinds=["s3", "cloudwatch-logs"])

        hall = server_with(key[1])
        speakers = [Speaker(room) for room in hall.rooms]
        talk_together(hall.server, speakers, times=20)

        def both_have_all():
            for speaker in speakers:
                assert ids(all_events(logs, speaker.room)) == speaker.published
                found = s3.list_objects_v2(Bucket="chat-logs").get("Contents", [])
                keys = [entry["Key"] for entry in found if f"room_{id_of(speaker.room)}" in entry["Key"]]
                bodies = [s3.get_object(Bucket="chat-logs", Key=name)["Body"].read() for name in keys]
                lines = [line for body in bodies for line in gzip.decompress(body).decode().splitlines()]
                assert sorted(ids(lines)) == sorted(speaker.published)

        def streams_are_there():
            for speaker in speakers:
                assert logs.describe_log_streams(
                    logGroupName="chat-logs", logStreamNamePrefix=f"aws/IVSChatLogs/1.0/room_{id_of(speaker.room)}"
                )["logStreams"]

        settle(streams_are_there)
        settle(both_have_all)
        hall.server.stop()

        stranger = server_with("a secret that is another one")
        talk_together(stranger.server, [Speaker(stranger.room)], times=1)
        denied = "grandstand_log_destination_access_denied_errors_total"
        for configuration in stranger.configurations.values():
            until("a denial", lambda: metric(stranger.server, denied, configuration))


def test_firehose_of_ministack_takes_more_than_one_batch(start, tmp_path):
    with emulator("ministack", tmp_path) as url:
        s3, firehose = client_of("s3", url), client_of("firehose", url)
        s3.create_bucket(Bucket="sink", CreateBucketConfiguration={"LocationConstraint": REGION})
        firehose.create_delivery_stream(
            DeliveryStreamName="chat-logs",
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::000000000000:role/sink", "BucketARN": "arn:aws:s3:::sink",
            },
        )  # fmt: skip
        hall = hall_at(start, url, rooms=8, kinds=["firehose"])
        speakers = [Speaker(room) for room in hall.rooms]
        # Together more than the 500 records that one call takes; ministack refuses 501.
        talk_together(hall.server, speakers, times=80)
        seen = {}

        def all_arrived():
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket="sink")
            for key in [entry["Key"] for page in pages for entry in page.get("Contents", [])]:
                if key not in seen:
                    seen[key] = s3.get_object(Bucket="sink", Key=key)["Body"].read().decode()
            records = ids(line for body in seen.values() for line in body.splitlines())
            assert sorted(set(records)) == sorted(record for speaker in speakers for record in speaker.published)

        settle(all_arrived)


def everything_arrived(fake, hall, speakers):
    """All three destinations have all, without an offence."""
    for speaker in speakers:
        room_id = id_of(speaker.room)
        speaker.check(ids(fake.events(room_id)))
        in_objects = {record for lines in fake.objects(room_id).values() for record in ids(lines)}
        assert set(speaker.published) <= in_objects
    in_firehose = ids(fake.streams["chat-logs"])
    assert {record for speaker in speakers for record in speaker.published} <= set(in_firehose)
    assert fake.offences == []
    # A line each: what Firehose puts together stays apart.
    assert all(record.endswith("\n") for record in fake.streams["chat-logs"])


def test_a_destination_that_was_away_gets_everything_in_order(start, fake, proxy):
    hall = hall_at(start, proxy.url, rooms=2)
    speakers = [Speaker(room) for room in hall.rooms]
    talk_together(hall.server, speakers, times=20)
    proxy.down()
    talk_together(hall.server, speakers, times=20)
    for configuration in hall.configurations.values():
        until("a failure", lambda: metric(hall.server, "grandstand_log_destination_errors_total", configuration))
    # Neither the process that began it nor the next one reaches anybody.
    hall.server.kill9()
    hall.server.restart()
    talk_together(hall.server, speakers, times=20)
    proxy.up()
    talk_together(hall.server, speakers, times=20)
    settle(lambda: everything_arrived(fake, hall, speakers))
    for speaker in speakers:
        check_log(ids(fake.events(id_of(speaker.room))), speaker.published)


def test_throttling_and_partial_failures_lose_nothing(start, fake, proxy):
    hall = hall_at(start, proxy.url, rooms=2)
    fake.fail("PutLogEvents", 3, 400, "ThrottlingException")
    fake.fail("PutObject", 3, 503, "SlowDown")
    fake.fail("PutRecordBatch", 2, 400, "ServiceUnavailableException")
    fake.firehose_fails_every = 3
    speakers = [Speaker(room) for room in hall.rooms]
    talk_together(hall.server, speakers, times=60)
    fake.wait_until(lambda: all(len(fake.events(id_of(room))) >= 60 for room in hall.rooms))
    fake.wait_until(lambda: len(fake.streams["chat-logs"]) >= 120)
    settle(lambda: everything_arrived(fake, hall, speakers))
    # What a stream has taken of a batch it does not get again.
    assert len(fake.streams["chat-logs"]) == 120


def test_a_missing_bucket_or_group_is_told_and_gets_all_once_it_is_there(start, fake, proxy):
    missing = fake.buckets.pop("chat-logs"), fake.groups.pop("chat-logs"), fake.streams.pop("chat-logs")
    hall = hall_at(start, proxy.url)
    speaker = Speaker(hall.room)
    talk_together(hall.server, [speaker], times=10)
    for configuration in hall.configurations.values():
        until(
            "a destination that is not there",
            lambda: metric(hall.server, "grandstand_log_destination_resource_not_found_errors_total", configuration),
        )
    fake.buckets["chat-logs"], fake.groups["chat-logs"], fake.streams["chat-logs"] = missing
    # Whoever has put it right need not wait for the next try.
    chat = clients.ivschat(hall.server)
    for kind, configuration in hall.configurations.items():
        chat.update_logging_configuration(
            identifier=configuration, destinationConfiguration=DESTINATIONS[kind]("chat-logs")
        )
    fake.wait_until(lambda: fake.objects(id_of(hall.room)) and len(fake.streams["chat-logs"]) >= 10)
    fake.wait_until(lambda: len(fake.events(id_of(hall.room))) >= 10)
    settle(lambda: everything_arrived(fake, hall, [speaker]))


def test_a_destination_that_denies_holds_no_other_back_and_loses_nothing(start, fake, proxy):
    hall = hall_at(start, proxy.url)
    fake.fail("PutLogEvents", 10_000, 400, "AccessDeniedException")
    speaker = Speaker(hall.room)
    talk_together(hall.server, [speaker], times=10)
    fake.wait_until(lambda: len(fake.streams["chat-logs"]) >= 10 and fake.objects(id_of(hall.room)))
    until(
        "a denial",
        lambda: metric(
            hall.server, "grandstand_log_destination_access_denied_errors_total", hall.configurations["cloudwatch-logs"]
        ),
    )
    assert fake.events(id_of(hall.room)) == []
    hall.server.stop()
    fake.faults.clear()
    hall.server.restart()
    fake.wait_until(lambda: len(fake.events(id_of(hall.room))) >= 10)
    speaker.check(ids(fake.events(id_of(hall.room))))


def test_events_that_are_rejected_for_good_are_counted_as_lost_and_not_sent_again(start, fake, proxy):
    hall = hall_at(start, proxy.url, kinds=["cloudwatch-logs"])
    fake.too_old = 3
    speaker = Speaker(hall.room)
    with enter(hall.server, hall.room):
        talk_together(hall.server, [speaker], times=10)
    lost = "grandstand_chatlog_records_lost_total"
    until("a loss", lambda: metric(hall.server, lost, hall.configurations["cloudwatch-logs"]) == 3)

    def all_but_those():
        assert ids(fake.events(id_of(hall.room))) == speaker.published[3:]

    settle(all_but_those)
