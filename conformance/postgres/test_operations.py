"""The tests of rooms, lists, logging configurations and tags once more, on a store in PostgreSQL."""

import importlib
import sys
from pathlib import Path

import pytest

MODULES = ("test_rooms", "test_list_rooms", "test_logging_configurations", "test_tags")

FOLDER = Path(__file__).resolve().parent.parent / "boto3"


def is_collected(name, thing):
    """Whether pytest would find something in it: a test, or a fixture that one asks for."""
    return name.startswith("test_") or type(thing).__name__ == "FixtureFunctionDefinition"


sys.path.append(str(FOLDER))
pytest.register_assert_rewrite(*MODULES)
for module in map(importlib.import_module, MODULES):
    for name, thing in list(vars(module).items()):
        if is_collected(name, thing):
            assert name not in globals(), f"two tests are called {name}"
            globals()[name] = thing
