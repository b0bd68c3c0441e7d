"""boto3: ListRooms filters, order, pages and page tokens, in regions that belong to one test each."""

import itertools

import pytest

import clients
from clients import body_of, members_of
from server import logging_configuration_arn

REGIONS = (f"test-{number}" for number in itertools.count(1))


@pytest.fixture
def region_chat(server):
    """A client of a region that no other test uses: its rooms are exactly the test's."""
    return clients.ivschat(server, region=next(REGIONS))


def handlers_of(chat):
    """Two handlers that rooms of the client's region may have."""
    return [f"arn:aws:lambda:{chat.meta.region_name}:123456789012:function:handler-{number}" for number in range(2)]


def pages(chat, **request):
    """All pages; fails when a page promises more and the next one is empty."""
    found, token = [], None
    while True:
        page = body_of(chat.list_rooms(**request, **({"nextToken": token} if token else {})))
        assert set(page) <= {"rooms", "nextToken"}
        assert page["rooms"] or token is None, "an empty page had been promised"
        found.append(page["rooms"])
        token = page.get("nextToken")
        if not token:
            return found


def listed(chat, **request):
    """The ids of all rooms that a request finds, in order."""
    return [room["id"] for page in pages(chat, **request) for room in page]


@pytest.mark.covers("ListRooms")
def test_a_summary_is_the_whole_summary(region_chat):
    chat = region_chat
    configuration = chat.create_logging_configuration(destinationConfiguration={"firehose": {"deliveryStreamName": "s"}})
    plain = chat.create_room(name="plain", maximumMessageLength=3)
    full = chat.create_room(
        name="full",
        messageReviewHandler={"uri": handlers_of(chat)[0], "fallbackResult": "DENY"},
        loggingConfigurationIdentifiers=[configuration["arn"]],
        tags={"k": "v"},
    )
    hidden = ("maximumMessageLength", "maximumMessageRatePerSecond")
    expected = [{k: v for k, v in body_of(room).items() if k not in hidden} for room in (full, plain)]
    assert body_of(chat.list_rooms()) == {"rooms": expected}


@pytest.mark.covers("ListRooms")
def test_an_empty_region_lists_nothing(region_chat):
    assert body_of(region_chat.list_rooms()) == {"rooms": []}
    assert body_of(region_chat.list_rooms(name="", nextToken="", messageReviewHandlerUri="")) == {"rooms": []}


@pytest.mark.covers("ListRooms")
def test_pages_of_every_size_hold_every_room_once_in_order(region_chat):
    ids = [region_chat.create_room()["id"] for _ in range(51)]
    ids.reverse()
    for size in (1, 7, 17, 50, 51 // 3):
        found = pages(region_chat, maxResults=size)
        assert [room["id"] for page in found for room in page] == ids
        assert all(len(page) == size for page in found[:-1])
    assert [len(page) for page in pages(region_chat)] == [50, 1]


@pytest.mark.covers("ListRooms")
def test_a_list_that_ends_with_a_full_page_promises_no_more(region_chat):
    for _ in range(4):
        region_chat.create_room()
    assert [len(page) for page in pages(region_chat, maxResults=2)] == [2, 2]
    assert "nextToken" not in region_chat.list_rooms(maxResults=4)


@pytest.mark.covers("ListRooms", "UpdateRoom", "TagResource")
def test_updates_move_a_room_to_the_front_and_tags_do_not(region_chat):
    chat = region_chat
    first, second, third = (chat.create_room(name=name) for name in ("first", "second", "third"))
    chat.tag_resource(resourceArn=first["arn"], tags={"moved": "no"})
    assert listed(chat) == [third["id"], second["id"], first["id"]]
    before = {room["id"]: room["updateTime"] for room in chat.list_rooms()["rooms"]}
    updated = chat.update_room(identifier=first["arn"])
    assert updated["updateTime"] >= before[first["id"]]
    assert listed(chat) == [first["id"], third["id"], second["id"]]
    times = [room["updateTime"] for room in chat.list_rooms()["rooms"]]
    assert times == sorted(times, reverse=True)


@pytest.mark.covers("ListRooms")
def test_filters_in_any_combination(region_chat):
    chat = region_chat
    configurations = [
        chat.create_logging_configuration(destinationConfiguration={"s3": {"bucketName": "logs"}})["arn"] for _ in range(3)
    ]
    handlers = handlers_of(chat)
    rooms = []
    for name, handler, attached in itertools.product(
        ("", "one", "One"), (None, *handlers), ((), configurations[:1], configurations[:2])
    ):
        request = {"name": name, "loggingConfigurationIdentifiers": list(attached)}
        if handler:
            request["messageReviewHandler"] = {"uri": handler}
        rooms.append((chat.create_room(**request)["id"], name, handler, attached))
    rooms.reverse()
    for name, handler, configuration in itertools.product(
        (None, "one", "One", "on"), (None, *handlers, f"{handlers[0]}x"), (None, *configurations)
    ):
        request = {
            "name": name, "messageReviewHandlerUri": handler, "loggingConfigurationIdentifier": configuration,
        }  # fmt: skip
        request = {member: value for member, value in request.items() if value is not None}
        expected = [
            room_id
            for room_id, room_name, room_handler, attached in rooms
            if name in (None, room_name) and handler in (None, room_handler)
            and (configuration is None or configuration in attached)
        ]  # fmt: skip
        assert listed(chat, maxResults=2, **request) == expected, request


@pytest.mark.covers("ListRooms")
def test_filtering_by_an_unknown_logging_configuration_is_not_found(chat, logging_configuration):
    for arn in (
        logging_configuration_arn("AbCdEfGh1234"),
        logging_configuration_arn(logging_configuration["id"], region="eu-west-1"),
        logging_configuration_arn(logging_configuration["id"], account="999999999999"),
    ):
        with pytest.raises(chat.exceptions.ResourceNotFoundException) as caught:
            chat.list_rooms(loggingConfigurationIdentifier=arn)
        assert members_of(caught.value) == {
            "message": f"Resource: {arn} not found", "resourceId": arn.rsplit("/")[-1], "resourceType": "ROOM",
        }  # fmt: skip


@pytest.mark.covers("ListRooms")
def test_a_page_token_is_bound_to_its_filters_region_and_operation(server, region_chat):
    chat = region_chat
    for _ in range(3):
        chat.create_room(name="same")
        chat.create_logging_configuration(destinationConfiguration={"s3": {"bucketName": "logs"}})
    token = chat.list_rooms(name="same", maxResults=1)["nextToken"]
    assert len(chat.list_rooms(name="same", nextToken=token)["rooms"]) == 2
    elsewhere = clients.ivschat(server, region=next(REGIONS))
    middle = len(token) // 2
    other = "A" if token[middle] != "A" else "B"
    wrong = [
        lambda: chat.list_rooms(nextToken=token),
        lambda: chat.list_rooms(name="other", nextToken=token),
        lambda: chat.list_rooms(name="same", messageReviewHandlerUri=handlers_of(chat)[0], nextToken=token),
        lambda: elsewhere.list_rooms(name="same", nextToken=token),
        lambda: chat.list_logging_configurations(nextToken=token),
        lambda: chat.list_rooms(name="same", nextToken=token[:middle] + other + token[middle + 1 :]),
        lambda: chat.list_rooms(name="same", nextToken=token[:-1]),
        lambda: chat.list_rooms(name="same", nextToken=token + "A"),
        lambda: chat.list_rooms(name="same", nextToken="page3"),
    ]
    for call in wrong:
        with pytest.raises(chat.exceptions.ValidationException) as caught:
            call()
        assert [field["name"] for field in caught.value.response["fieldList"]] == ["nextToken"]


@pytest.mark.covers("ListRooms")
def test_a_page_token_survives_a_change_of_page_size_and_other_rooms_changes(region_chat):
    chat = region_chat
    rooms = [chat.create_room(name="kept") for _ in range(6)]
    page = chat.list_rooms(maxResults=2)
    chat.create_room(name="new")
    chat.delete_room(identifier=rooms[3]["arn"])
    chat.update_room(identifier=rooms[5]["arn"], name="moved")
    rest = chat.list_rooms(maxResults=50, nextToken=page["nextToken"])
    assert [room["id"] for room in rest["rooms"]] == [rooms[number]["id"] for number in (2, 1, 0)]
    assert "nextToken" not in rest


@pytest.mark.covers("ListRooms")
def test_deleted_rooms_are_not_listed(region_chat):
    room = region_chat.create_room(name="gone")
    region_chat.delete_room(identifier=room["arn"])
    assert listed(region_chat) == [] and listed(region_chat, name="gone") == []
