"""Chat logs at services that speak like AWS: emulators that nobody here wrote, and a fake of ours that is stricter and fails
as it is told, behind a line that can be cut.
"""

import gzip
import json
import re
import urllib.request

import boto3
import pytest
from botocore.config import Config

import clients
from crowd import DESTINATIONS, Hall, LogBroken, Speaker, check_log, enter, id_of, ids, settle, talk_together, until
from emulators import emulator
from ledger import Line
from server import REGION, get

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDFAKE000000000000", "AWS_SECRET_ACCESS_KEY": "secret-of-the-fake"}


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


def test_a_put_that_is_carried_out_behind_a_longer_one_takes_nothing_away(start, fake, proxy):
    # The window is not over; the objects come because the spool is half full.
    settings = {"GRANDSTAND_CHATLOG_S3_INTERVAL_S": "86400", "GRANDSTAND_CHATLOG_SPOOL_MIB_MAX": "1"}
    server = start(AWS_ENDPOINT_URL=proxy.url, **settings, **KEYS)
    hall = Hall(server, clients.ivschat(server), kinds=["s3"])
    # Who is refused tries less the next time, and does not hear what becomes of that.
    fake.fail("PutObject", 1, 503, "SlowDown")
    fake.puts_to_delay = 1
    line, published = Line(server), []
    members = {"roomIdentifier": hall.room, "eventName": "app:large", "attributes": {"k": "v" * 4_000}}
    # More than half of the spool, and less than all of it.
    for _ in range(180):
        published.append(line.call("SendEvent", members).json["id"])
    line.close()
    fake.wait_until(lambda: fake.held == 1)
    server.kill9()
    # The next process begins with all there is.
    server.restart()
    room_id = id_of(hall.room)

    def arrived():
        return {record for lines in fake.objects(room_id).values() for record in ids(lines)}

    (delayed,) = fake.delayed
    records = len(gzip.decompress(delayed[2]).splitlines())
    fake.wait_until(lambda: records < max(map(len, fake.objects(room_id).values()), default=0))
    fake.carry_out_delayed()
    # What is left comes at a stop.
    server.stop()
    assert set(published) == arrived() and fake.offences == []


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


@pytest.mark.covers("DeleteLoggingConfiguration", "UpdateRoom")
def test_what_is_left_of_a_deleted_configuration_is_not_given_up_when_it_is_denied_for_a_while(start, fake, proxy):
    hall = hall_at(start, proxy.url, kinds=["cloudwatch-logs"])
    fake.fail("PutLogEvents", 10_000, 400, "AccessDeniedException")
    speaker = Speaker(hall.room)
    talk_together(hall.server, [speaker], times=10)
    chat, (configuration,) = clients.ivschat(hall.server), hall.configurations.values()
    chat.update_room(identifier=hall.room, loggingConfigurationIdentifiers=[])
    chat.delete_logging_configuration(identifier=configuration)
    calls = fake.calls["PutLogEvents"]
    # Each of them was told that the configuration is gone.
    fake.wait_until(lambda: fake.calls["PutLogEvents"] >= calls + 3)
    assert metric(hall.server, "grandstand_chatlog_records_lost_total", configuration) == 0
    fake.faults.clear()
    fake.wait_until(lambda: len(fake.events(id_of(hall.room))) >= 10)
    assert ids(fake.events(id_of(hall.room))) == speaker.published


def test_who_answers_200_and_is_not_the_service_has_taken_nothing(start, fake, proxy):
    fake.strays = 9
    hall = hall_at(start, proxy.url)
    speaker = Speaker(hall.room)
    talk_together(hall.server, [speaker], times=10)
    settle(lambda: everything_arrived(fake, hall, [speaker]))
    assert fake.strays == 0


def test_destinations_that_never_answer_hold_back_none_that_comes_back(start, fake, proxy):
    # How much may wait for them is proved where it is made in a moment: `chatlog/tests/destinations.rs` of the server.
    server = start(AWS_ENDPOINT_URL=proxy.url, **KEYS)
    chat = clients.ivschat(server)
    names = [f"hole-{number}" for number in range(12)]
    fake.broken = {"chat-logs", *names}
    made = [chat.create_logging_configuration(destinationConfiguration=DESTINATIONS["firehose"](name))["arn"] for name in names]
    for configuration in made:
        room = chat.create_room(loggingConfigurationIdentifiers=[configuration])["arn"]
        chat.send_event(roomIdentifier=room, eventName="app:waits")
    hall = Hall(server, chat, kinds=["firehose"])
    speaker = Speaker(hall.room)
    talk_together(server, [speaker], times=10)
    errors = "grandstand_log_destination_errors_total"
    for configuration in [*made, *hall.configurations.values()]:
        until("a failure", lambda: metric(server, errors, configuration))
    fake.holes = set(names)
    fake.wait_until(lambda: fake.held == len(names))
    fake.broken = set()
    # While those are waited for.
    fake.wait_until(lambda: len(fake.streams["chat-logs"]) >= 10)
    assert ids(fake.streams["chat-logs"]) == speaker.published


def test_nothing_of_a_chat_is_in_the_log_whatever_a_destination_says(start, fake, proxy):
    hall = hall_at(start, proxy.url)
    words = "you have sent: secret-content by secret-user"
    for operation in ("PutObject", "PutLogEvents", "PutRecordBatch"):
        fake.fail(operation, 1, 400, "InvalidParameterException", words)
        fake.fail(operation, 1, 400, words, words)
    with enter(hall.server, hall.room, user="secret-user") as socket:
        socket.send_json({"Action": "SEND_MESSAGE", "RequestId": "r", "Content": "secret-content"})
        socket.receive_json()
    fake.wait_until(lambda: fake.streams["chat-logs"] and fake.events(id_of(hall.room)) and fake.objects(id_of(hall.room)))
    log = hall.server.log_path.read_text()
    assert log.count("a chat log is not taken") >= 3 and "400, InvalidParameterException" in log
    assert "secret" not in log


def test_a_destination_that_is_away_for_long_costs_so_much_disk_and_gets_all_that_was_accepted(start, fake, proxy):
    server = start(AWS_ENDPOINT_URL=proxy.url, GRANDSTAND_CHATLOG_SPOOL_MIB_MAX="1", **KEYS)
    hall = Hall(server, clients.ivschat(server), rooms=3, kinds=["cloudwatch-logs"])
    (configuration,) = hall.configurations.values()
    spool = server.data_dir / "chatlog" / "spool"
    published = {room: [] for room in hall.rooms}
    # By room, what was published when nothing was lost yet, in each absence.
    accepted = {room: [] for room in hall.rooms}
    lost = 0

    def lost_now():
        return metric(server, "grandstand_chatlog_records_lost_total", configuration)

    def publish(line):
        """One large event in each room; whether none of them is lost."""
        made = {}
        for room in hall.rooms:
            members = {"roomIdentifier": room, "eventName": "app:large", "attributes": {"k": "v" * 4_000}}
            made[room] = line.call("SendEvent", members).json["id"]
            published[room].append(made[room])
        return made

    for _ in range(2):
        proxy.down()
        line, is_full = Line(server), False
        while not is_full:
            before, made = lost_now(), publish(line)
            is_full = lost_now() > before
            for room in () if is_full else hall.rooms:
                accepted[room].append(made[room])
        for _ in range(20):
            publish(line)
        assert sum(path.stat().st_size for path in spool.rglob("*.records")) <= 1024 * 1024
        lost += lost_now()
        line.close()
        # It is still away when the server has been killed.
        server.kill9()
        server.restart()
        proxy.up()
        settle(lambda: check_accepted(fake, published, accepted, lost))
        assert lost_now() == 0
    # What was shipped may take its place in the spool a little longer, and the next records would be lost.
    settle(lambda: check_place(spool))
    last = publish(Line(server))
    settle(lambda: check_accepted(fake, published, {room: [last[room]] for room in hall.rooms}, lost))


def check_place(spool):
    used = sum(path.stat().st_size for path in spool.rglob("*.records"))
    if used > 512 * 1024:
        raise LogBroken(f"{used} bytes are still in the spool")


def check_accepted(fake, published, accepted, lost):
    """What was accepted has arrived, in order, and all else that is missing was counted."""
    missing = 0
    for room, records in published.items():
        arrived = ids(fake.events(id_of(room)))
        check_log(arrived, accepted[room])
        check_log(arrived, [record for record in records if record in set(arrived)])
        missing += len(set(records) - set(arrived))
    assert missing == lost
