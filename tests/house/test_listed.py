"""What is added is also listed where it comes to life."""

import importlib
import pkgutil
from typing import get_args

import producers
import twin.agents
import twin.console.routes
from producers.families import PRODUCERS
from producers.requests import _VERBS
from twin.agents.apps import APPS
from twin.console import app
from twin.console.orders import RUN_VERBS
from twin.events.control import RequestVerb

EVERY_APP_HAS = {"twin.agents.health"}


def modules_with(package: str, path: list[str], attribute: str) -> set[str]:
    names = [info.name for info in pkgutil.iter_modules(path, f"{package}.")]
    return {
        name
        for name in names
        if (found := getattr(importlib.import_module(name), attribute, None)) is not None and found.__module__ == name
    }


def test_every_stream_processor_belongs_to_an_app() -> None:
    listed = {kind.attach.__module__ for kind in APPS.values()} | EVERY_APP_HAS
    assert modules_with("twin.agents", list(twin.agents.__path__), "attach") == listed


def test_every_producer_is_listed() -> None:
    classes = {
        value
        for info in pkgutil.iter_modules(producers.__path__, "producers.")
        if info.name != "producers.__main__"
        for value in vars(importlib.import_module(info.name)).values()
        if isinstance(value, type) and value.__name__.endswith("Producer") and hasattr(value, "readings")
    }
    classes = {one for one in classes if not getattr(one, "_is_protocol", False)}
    assert classes == set(PRODUCERS.values())


def test_every_request_to_the_run_has_its_answer() -> None:
    assert set(_VERBS) == set(get_args(RequestVerb))
    assert set(RUN_VERBS) <= set(_VERBS)


def test_every_file_of_routes_is_part_of_the_console() -> None:
    makers = {value.__module__ for name, value in vars(app).items() if name.endswith("_routes") and callable(value)}
    found = {info.name for info in pkgutil.iter_modules(twin.console.routes.__path__, "twin.console.routes.")}
    assert found == makers
