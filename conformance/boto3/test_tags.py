"""boto3: tags of rooms and logging configurations."""

import pytest
from botocore.exceptions import ClientError

from clients import body_of, members_of
from server import logging_configuration_arn, room_arn


@pytest.fixture(params=["room", "logging_configuration"])
def resource(request):
    """Both kinds of resource can be tagged, whatever the model's damaged pattern says."""
    return request.getfixturevalue(request.param)


@pytest.mark.covers("TagResource", "ListTagsForResource", "UntagResource")
def test_tags_are_added_replaced_listed_and_removed(chat, resource):
    arn = resource["arn"]
    assert body_of(chat.list_tags_for_resource(resourceArn=arn)) == {"tags": {}}
    tagged = chat.tag_resource(resourceArn=arn, tags={"stage": "dev", "Ключ é": "значение", "empty": ""})
    assert tagged["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert body_of(tagged) == {}
    chat.tag_resource(resourceArn=arn, tags={"stage": "prod"})
    assert body_of(chat.list_tags_for_resource(resourceArn=arn)) == {
        "tags": {"stage": "prod", "Ключ é": "значение", "empty": ""}
    }
    untagged = chat.untag_resource(resourceArn=arn, tagKeys=["Ключ é", "stage", "never there"])
    assert untagged["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert body_of(untagged) == {}
    assert body_of(chat.list_tags_for_resource(resourceArn=arn)) == {"tags": {"empty": ""}}


@pytest.mark.covers("TagResource")
def test_tags_show_on_the_resource_and_leave_its_update_time(chat, room):
    chat.tag_resource(resourceArn=room["arn"], tags={"a": "b"})
    assert body_of(chat.get_room(identifier=room["arn"])) == body_of(room) | {"tags": {"a": "b"}}


@pytest.mark.covers("TagResource")
def test_at_most_fifty_tags_after_the_change(chat, resource):
    arn = resource["arn"]
    chat.tag_resource(resourceArn=arn, tags={f"k{number}": "v" for number in range(49)})
    chat.tag_resource(resourceArn=arn, tags={"k0": "replaced", "k49": "the fiftieth"})
    with pytest.raises(ClientError) as caught:
        chat.tag_resource(resourceArn=arn, tags={"k50": "one too many"})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    tags = chat.list_tags_for_resource(resourceArn=arn)["tags"]
    assert len(tags) == 50 and tags["k0"] == "replaced"


@pytest.mark.covers("TagResource", "CreateRoom")
@pytest.mark.parametrize("key", ["aws:stage", "AWS:stage", "aws:"])
def test_the_aws_prefix_is_reserved(chat, room, key):
    for call in (
        lambda: chat.tag_resource(resourceArn=room["arn"], tags={key: "v"}),
        lambda: chat.create_room(tags={key: "v"}),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.covers("TagResource", "UntagResource", "ListTagsForResource")
def test_tags_of_foreign_and_unknown_resources_are_not_found(chat, resource):
    make = room_arn if ":room/" in resource["arn"] else logging_configuration_arn
    for arn in (
        make("AbCdEfGh1234"),
        make(resource["id"], region="eu-west-1"),
        make(resource["id"], account="999999999999"),
    ):
        for call in (
            lambda arn: chat.tag_resource(resourceArn=arn, tags={"a": "b"}),
            lambda arn: chat.untag_resource(resourceArn=arn, tagKeys=["a"]),
            lambda arn: chat.list_tags_for_resource(resourceArn=arn),
        ):
            with pytest.raises(chat.exceptions.ResourceNotFoundException) as caught:
                call(arn)
            assert members_of(caught.value) == {
                "message": f"Resource: {arn} not found", "resourceId": arn.rsplit("/")[-1], "resourceType": "ROOM",
            }  # fmt: skip
