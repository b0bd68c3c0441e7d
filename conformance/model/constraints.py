"""Cases for every constraint of the service model, generated from the model that botocore has installed.

For each member of each operation, through structures, lists and maps: the smallest, the largest, one below, one
above, a bad pattern, a trailing newline, a wrong type, a missing required member, null. What the model cannot say
(sample texts for its patterns) or says wrongly is data at the top, with reasons.
"""

import copy
import re
from dataclasses import dataclass, field

import botocore.loaders
from botocore.model import ServiceModel

ROOM, LOGGING_CONFIGURATION = "<room>", "<logging configuration>"
NOT_TEXT = (7, True, [], {"a": "b"})
NOT_INTEGER = ("7", 1.5, True, [], {}, 10**30)
NOT_LIST = ("x", 7, {"a": "b"}, True)
NOT_MAP = ("x", 7, ["a"], True)
NOT_STRUCTURE = ("x", 7, ["a"], True)


@dataclass(frozen=True)
class Spelling:
    """How to write a text of any length that a pattern accepts, and texts that it does not."""

    start: str
    filler: str
    bad: tuple

    def text(self, length):
        """A text that fits, of exactly this length."""
        return self.start + self.filler * (length - len(self.start))

    @property
    def shortest(self):
        """The shortest text the pattern itself allows."""
        return len(self.start) + 1


def _arn(kind):
    bad = ("a", f"arn:aws:ivschat:us-west-2:1:{kind}/", f"arn:aws:ivschat:us-west-2:1:{kind}/a b",
           f"arn:aws:ivschat:us-west-2:one:{kind}/a", f"arn:aws:ivs:us-west-2:1:{kind}/a",
           f"arn:aws:ivschat:US:1:{kind}/a", "arn:aws:ivschat:us-west-2:1:channel/a",
           f" arn:aws:ivschat:us-west-2:1:{kind}/a")  # fmt: skip
    return Spelling(f"arn:aws:ivschat:r:1:{kind}/", "a", bad)


# A pattern that is not here fails the run: a new constraint must not go unnoticed.
SPELLINGS = {
    "[a-z0-9-.]+": Spelling("", "a", ("UPPER", "a_b", "a b")),
    "[a-zA-Z0-9_.-]+": Spelling("", "a", ("a b", "é", "a/b")),
    "[a-zA-Z0-9]+": Spelling("", "a", ("abcdefghijk-", "abcdefghijk ", "äbcdefghijkl")),
    "[\\.\\-_/#A-Za-z0-9]+": Spelling("", "/", ("a b", "a:b", "é")),
    "[a-zA-Z0-9-_]*": Spelling("", "a", ("a b", "é", "a.b", "a/b")),
    "arn:aws:ivschat:[a-z0-9-]+:[0-9]+:room/[a-zA-Z0-9-]+": _arn("room"),
    "arn:aws:ivschat:[a-z0-9-]+:[0-9]+:logging-configuration/[a-zA-Z0-9-]+": _arn("logging-configuration"),
    "$|^arn:aws:lambda:[a-z0-9-]+:[0-9]{12}:function:.+.*": Spelling(
        "arn:aws:lambda:us-west-2:123456789012:function:", "f",
        ("x", "arn:aws:lambda:us-west-2:1234:function:f", "arn:aws:lambda:us-west-2:123456789012:function:",
         "arn:aws:lambda:US:123456789012:function:f", " arn:aws:lambda:us-west-2:123456789012:function:f"),
    ),  # fmt: skip
}

# The model's pattern of ResourceArn allows one letter for the kind of resource, so no ARN that exists passes it. The
# service takes both kinds; the room's pattern stands in.
DAMAGED_PATTERNS = {"ResourceArn": "arn:aws:ivschat:[a-z0-9-]+:[0-9]+:room/[a-zA-Z0-9-]+"}

# What an answer shows where the model's own pattern is not what is meant, by shape: both kinds of resource, see above;
# and for handlers, where the model lacks an anchor and ends in `.+.*`.
SHOWN_PATTERNS = {
    "ResourceArn": "arn:aws:ivschat:[a-z0-9-]+:[0-9]+:(room|logging-configuration)/[a-zA-Z0-9-]+",
    "LambdaArn": "^$|^arn:aws:lambda:[a-z0-9-]+:[0-9]{12}:function:.+",
}

# Well-formed references to what does not exist are not found, which is not a violated constraint.
REFERENCES = {"RoomIdentifier", "LoggingConfigurationIdentifier", "ResourceArn"}

# Texts that fit the model and are refused all the same, by shape, with the reason.
REFUSED_THOUGH_MODELLED = {
    ("PaginationToken", "largest"): "a page token is authenticated: only those handed out are accepted",
    ("PaginationToken", "astral"): "a page token is authenticated: only those handed out are accepted",
}

# What the answer to them says.
NO_PAGE_TOKEN = ("must be what an earlier page of the same list was answered with",)

# What an operation needs besides the member under test.
BASES = {
    "CreateChatToken": {"roomIdentifier": ROOM, "userId": "u"},
    "CreateLoggingConfiguration": {"destinationConfiguration": {"s3": {"bucketName": "logs"}}},
    "CreateRoom": {},
    "DeleteLoggingConfiguration": {"identifier": LOGGING_CONFIGURATION},
    "DeleteMessage": {"roomIdentifier": ROOM, "id": "abcdefghijkl"},
    "DeleteRoom": {"identifier": ROOM},
    "DisconnectUser": {"roomIdentifier": ROOM, "userId": "u"},
    "GetLoggingConfiguration": {"identifier": LOGGING_CONFIGURATION},
    "GetRoom": {"identifier": ROOM},
    "ListLoggingConfigurations": {},
    "ListRooms": {},
    "ListTagsForResource": {"resourceArn": ROOM},
    "SendEvent": {"roomIdentifier": ROOM, "eventName": "e"},
    "TagResource": {"resourceArn": ROOM, "tags": {"a": "b"}},
    "UntagResource": {"resourceArn": ROOM, "tagKeys": ["a"]},
    "UpdateLoggingConfiguration": {"identifier": LOGGING_CONFIGURATION},
    "UpdateRoom": {"identifier": ROOM},
}
# In place of a value: the member is left out.
MISSING = object()
# How an answer begins about a member that has to be there and is not.
REQUIRED = "is required and must be"


@dataclass
class Case:
    """One request: what it sends and what must come back."""

    operation: str
    name: str
    members: dict
    # The member that must be named in `fieldList`; `None` when the request is to be accepted.
    failing: str | None = None
    # What the entry in `fieldList` must say, so that who reads it knows what is allowed.
    allowed: tuple = ()
    # Whether an accepted request may name something that does not exist.
    may_be_not_found: bool = False
    # Entries of maps have no fixed spelling: any name that begins with the member's is good.
    by_prefix: bool = field(default=False)

    def __str__(self):
        return f"{self.operation}: {self.name}"


def load_model():
    """The service model as botocore ships it."""
    return botocore.loaders.Loader().load_service_model("ivschat", "service-2")


def allowed(shape):
    """What an answer must say when a value of this shape is refused: all its limits, words and patterns."""
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
    if shape.type_name == "string" and shape.enum:
        return ("must be one of", *shape.enum)
    if shape.type_name == "string":
        pattern = SHOWN_PATTERNS.get(shape.name, shape.metadata.get("pattern"))
        length = f"{least} characters" if least == most else f"{least} to {most} characters"
        return (f" of {length}", *([f"that matches {pattern}"] if pattern else []))
    if shape.type_name == "integer":
        return (f"an integer from {least} to {most}",)
    if shape.type_name == "structure":
        return (f"exactly one of {', '.join(shape.members)}",) if is_union(shape) else ("a structure",)
    kind = {"list": "a list", "map": "a map from string to string"}[shape.type_name]
    return (kind if most is None else f"{kind} of at most {most} entries",)


def is_union(shape):
    """Whether exactly one member of a structure may be there."""
    return bool(shape.metadata.get("union") or getattr(shape, "is_tagged_union", False))


class Generator:
    """Makes the cases of one operation."""

    def __init__(self, model, operation):
        self.operation = ServiceModel(model).operation_model(operation)
        self.name = operation
        self.cases = []

    def run(self):
        """All cases."""
        self.cases = [Case(self.name, "the base request", self._members_with((), None))]
        shape = self.operation.input_shape
        for name, member in shape.members.items():
            if name in shape.required_members:
                # In a path, what is missing is an empty text.
                in_path = member.serialization.get("location") == "uri"
                said = allowed(member) if in_path else (REQUIRED, *allowed(member))
                self._refused(f"{name} missing", (name,), MISSING, said)
            self._member((name,), member, name in shape.required_members)
        return self.cases

    # --- building blocks ---

    def _members_with(self, path, value):
        members = copy.deepcopy(BASES[self.name])
        if not path:
            return members
        target = members
        for step in path[:-1]:
            target = target.setdefault(step, {}) if isinstance(target, dict) else target[step]
        if value is MISSING:
            target.pop(path[-1], None)
        else:
            target[path[-1]] = value
        return members

    def _accepted(self, name, path, value, *, may_be_not_found=False):
        self.cases.append(
            Case(self.name, name, self._members_with(path, value), may_be_not_found=may_be_not_found)
        )

    def _refused(self, name, path, value, said, *, failing=None, by_prefix=False):
        failing = failing or ".".join(path)
        self.cases.append(Case(self.name, name, self._members_with(path, value), failing, said, by_prefix=by_prefix))

    # --- by type ---

    def _member(self, path, shape, required):
        label = ".".join(path)
        location = shape.serialization.get("location")
        if location != "uri":
            if location is None:
                if required:
                    self._refused(f"{label} null", path, None, (REQUIRED, *allowed(shape)))
                else:
                    self._accepted(f"{label} null", path, None)
        make = {
            "string": self._string, "integer": self._integer, "list": self._list, "map": self._map,
            "structure": self._structure,
        }[shape.type_name]  # fmt: skip
        make(path, shape, location)

    def _texts(self, shape):
        """(name, text, accepted) for a text shape."""
        if shape.enum:
            yield from ((f"value {value}", value, True) for value in shape.enum)
            yield from ((f"no value {value!r}", value, False) for value in ("", shape.enum[0].lower(), "OTHER"))
            return
        pattern = DAMAGED_PATTERNS.get(shape.name, shape.metadata.get("pattern"))
        spelling = SPELLINGS[pattern] if pattern else Spelling("", "x", ())
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
        smallest = "" if least == 0 else spelling.text(max(least, spelling.shortest))
        yield "smallest", smallest, True
        if least > 0:
            yield "one below", spelling.text(least - 1) if least > len(spelling.start) else "", False
        if most is not None:
            yield "largest", spelling.text(most), True
            yield "one above", spelling.text(most + 1), False
            if not pattern:
                # Characters are code points: these have four bytes and two UTF-16 units each.
                yield "astral", "🎉" * most, True
                yield "one above in astral characters", "🎉" * (most + 1), False
        for bad in spelling.bad:
            yield f"bad pattern {bad!r}", bad, False
        if pattern:
            longer = spelling.text(max(least, spelling.shortest))
            yield "trailing newline", longer + "\n" if len(longer) < (most or 1 << 20) else longer[:-1] + "\n", False

    def _string(self, path, shape, location):
        label = ".".join(path)
        for name, text, accepted in self._texts(shape):
            if accepted and (shape.name, name) not in REFUSED_THOUGH_MODELLED:
                self._accepted(f"{label} {name}", path, text, may_be_not_found=shape.name in REFERENCES)
            else:
                self._refused(f"{label} {name}", path, text, NO_PAGE_TOKEN if accepted else allowed(shape))
        if location is None:
            for wrong in NOT_TEXT:
                self._refused(f"{label} wrong type {wrong!r}", path, wrong, allowed(shape))

    def _integer(self, path, shape, _location):
        label = ".".join(path)
        least, most = shape.metadata["min"], shape.metadata["max"]
        for name, value in (("smallest", least), ("largest", most)):
            self._accepted(f"{label} {name}", path, value)
        for value in (least - 1, most + 1, -1, *NOT_INTEGER):
            self._refused(f"{label} = {value!r}", path, value, allowed(shape))

    def _list(self, path, shape, location):
        label = ".".join(path)
        most = shape.metadata.get("max")
        item = shape.member
        not_found = item.name in REFERENCES

        def items(count):
            if item.enum:
                return [item.enum[number % len(item.enum)] for number in range(count)]
            pattern = item.metadata.get("pattern")
            start = SPELLINGS[pattern].start if pattern else ""
            return [f"{start}item{number}" for number in range(count)]

        if location is None:
            self._accepted(f"{label} empty", path, [])
            for wrong in NOT_LIST:
                self._refused(f"{label} wrong type {wrong!r}", path, wrong, allowed(shape))
            for wrong in (*NOT_TEXT, None):
                self._refused(f"{label} item of wrong type {wrong!r}", path, [wrong], allowed(item), failing=f"{label}[0]")
        self._accepted(f"{label} one", path, items(1), may_be_not_found=not_found)
        if most is not None:
            self._accepted(f"{label} largest", path, items(most), may_be_not_found=not_found)
            self._refused(f"{label} one above", path, items(most + 1), allowed(shape))
        for name, text, accepted in self._texts(item):
            if accepted:
                self._accepted(f"{label}[0] {name}", path, [text], may_be_not_found=not_found)
            else:
                self._refused(f"{label}[0] {name}", path, [text], allowed(item), failing=f"{label}[0]")

    def _map(self, path, shape, _location):
        label = ".".join(path)
        most = shape.metadata.get("max")
        self._accepted(f"{label} empty", path, {})
        for wrong in NOT_MAP:
            self._refused(f"{label} wrong type {wrong!r}", path, wrong, allowed(shape))
        for wrong in (*NOT_TEXT, None):
            self._refused(f"{label} value of wrong type {wrong!r}", path, {"k": wrong}, ("must be a string",), by_prefix=True)
        if most is not None:
            self._accepted(f"{label} largest", path, {f"k{number}": "v" for number in range(most)})
            self._refused(f"{label} one above", path, {f"k{number}": "v" for number in range(most + 1)}, allowed(shape))
        for name, text, accepted in self._texts(shape.key):
            self._entry(f"{label} key {name}", path, {text: "v"}, shape.key, accepted)
        for name, text, accepted in self._texts(shape.value):
            self._entry(f"{label} value {name}", path, {"k": text}, shape.value, accepted)

    def _entry(self, name, path, value, shape, accepted):
        if accepted:
            self._accepted(name, path, value)
        else:
            self._refused(name, path, value, allowed(shape), by_prefix=True)

    def _structure(self, path, shape, _location):
        label = ".".join(path)
        for wrong in NOT_STRUCTURE:
            self._refused(f"{label} wrong type {wrong!r}", path, wrong, allowed(shape))
        if is_union(shape):
            self._union(path, shape)
            return
        for name, member in shape.members.items():
            if name in shape.required_members:
                self._refused(f"{label}.{name} missing", path, {}, (REQUIRED, *allowed(member)), failing=f"{label}.{name}")
            self._member((*path, name), member, name in shape.required_members)

    def _union(self, path, shape):
        label = ".".join(path)
        samples = {}
        for name, member in shape.members.items():
            (inner,) = member.members
            samples[name] = {inner: "sample"}
        self._refused(f"{label} with no member", path, {}, allowed(shape))
        names = list(samples)
        self._refused(f"{label} with two members", path, {name: samples[name] for name in names[:2]}, allowed(shape))
        self._refused(f"{label} with all members", path, samples, allowed(shape))
        for name, member in shape.members.items():
            self._accepted(f"{label}.{name} alone", path, {name: samples[name]})
            self._accepted(f"{label}.{name} with a null beside", path, {name: samples[name], names[0] if name != names[0] else names[1]: None})
            for wrong in NOT_STRUCTURE:
                self._refused(f"{label}.{name} wrong type {wrong!r}", path, {name: wrong}, allowed(member), failing=f"{label}.{name}")
            ((inner, text_shape),) = member.members.items()
            self._text_in_union(path, name, inner, text_shape)

    def _text_in_union(self, path, name, inner, shape):
        label = ".".join((*path, name, inner))

        def refused(case, value, said):
            self._refused(f"{label} {case}", path, {name: value}, said, failing=label)

        refused("missing", {}, (REQUIRED, *allowed(shape)))
        refused("null", {inner: None}, (REQUIRED, *allowed(shape)))
        for text_name, text, accepted in self._texts(shape):
            if accepted:
                self._accepted(f"{label} {text_name}", path, {name: {inner: text}})
            else:
                refused(text_name, {inner: text}, allowed(shape))
        for wrong in NOT_TEXT:
            refused(f"wrong type {wrong!r}", {inner: wrong}, allowed(shape))


def generate(model, operation):
    """All cases of an operation; fails when a sample does not do what it says."""
    for pattern, spelling in SPELLINGS.items():
        assert re.fullmatch(pattern, spelling.text(max(spelling.shortest, 12))), pattern
        assert not any(re.fullmatch(pattern, bad) for bad in spelling.bad), pattern
    return Generator(model, operation).run()
