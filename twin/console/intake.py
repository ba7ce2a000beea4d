"""What the console refuses: the checks of the keepers, so that a broken message never takes the place of a value."""

from typing import TypeVar

import orjson
from pydantic import ValidationError

from twin.errors import MessageInvalid
from twin.events.columns import Family
from twin.events.control import Message, RunControl
from twin.events.derived import TWIN_RACK, TWIN_SITE
from twin.events.frames import Frame, decode_frame
from twin.events.head import Head
from twin.events.jobs import JobTable
from twin.events.layout import FrameLayout
from twin.events.topics import TOPICS
from twin.run import ts_at
from twin.site import Site
from twin.state.checks import AHEAD_MS, check_groups, places_of

M = TypeVar("M", bound=Message)
_FAMILIES = {topic.name: topic.data for topic in TOPICS if isinstance(topic.data, Family)}


class Intake:
    """Reads what one sender says of a site.

    Parameters
    ----------
    site
        Gives the keys, sizes and places that a message can name.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._layout = FrameLayout(site)
        self._places = places_of(site)

    def content(self, topic: str, head: Head, data: bytes) -> Frame | JobTable:
        """Read the data of a message whose schema is that of its topic.

        Raises
        ------
        MessageInvalid
            With the first thing that is wrong.
        """
        match topic:
            case "telemetry.jobs":
                if head.key not in self._site.unit_ids("scheduler"):
                    raise _unknown_key(head)
                return read_model(JobTable, data)
            case "twin.rack":
                frame = decode_frame(TWIN_RACK, data, {"close": 1})
                check_groups(TWIN_RACK, frame, self._places)
                if head.key != str(int(frame.dense["close"]["partition"][0])):
                    raise _unknown_key(head)
                return frame
            case "twin.site":
                if head.key != self._site.id:
                    raise _unknown_key(head)
                frame = decode_frame(TWIN_SITE, data, {"close": 1, "site": 1})
                check_groups(TWIN_SITE, frame, self._places)
                return frame
            case _:
                sizes = self._layout.sizes(topic, head.key)
                if sizes is None:
                    raise _unknown_key(head)
                return decode_frame(_FAMILIES[topic], data, sizes)


def read_model(model: type[M], data: bytes) -> M:
    """Read data that is a model, by the letter: no text for a number, no number that JSON cannot carry on.

    Raises
    ------
    MessageInvalid
        With the first thing that is wrong.
    """
    try:
        # Whole numbers of more than 64 bits become floats here, and are then refused where one is expected.
        return model.model_validate_json(orjson.dumps(orjson.loads(data)), strict=True)
    except orjson.JSONDecodeError as exc:
        raise MessageInvalid(f"not-json: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise MessageInvalid(f"bad-data: {'.'.join(map(str, first['loc']))}: {first['msg']}") from exc


def check_control(control: RunControl, now_ms: int) -> None:
    """Refuse a run that claims to have done a tick whose time has not come: all that it says would look old.

    Raises
    ------
    MessageInvalid
        With the display time of that tick.
    """
    ts = ts_at(control.line, control.settled_tick)
    if abs(ts) > now_ms + AHEAD_MS:
        raise MessageInvalid(f"out-of-range: settled_tick: {control.settled_tick} is of {ts} ms, it is {now_ms} ms")


def _unknown_key(head: Head) -> MessageInvalid:
    return MessageInvalid(f"unknown-key: {head.key} is no key of {head.name} here")
