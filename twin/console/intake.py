"""What the console refuses: the checks of the keepers, so that a broken message never takes the place of a value."""

from twin.errors import MessageInvalid
from twin.events.columns import Family
from twin.events.derived import TWIN_RACK, TWIN_SITE
from twin.events.frames import Frame, decode_frame
from twin.events.head import Head, decode_data
from twin.events.jobs import JobTable
from twin.events.layout import FrameLayout
from twin.events.topics import TOPICS
from twin.site import Site
from twin.state.checks import check_groups, places_of

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

    def content(self, topic: str, head: Head, data: bytes) -> Frame | JobTable | None:
        """Read the data of a message whose schema is that of its topic; ``None`` for a late one.

        Raises
        ------
        MessageInvalid
            With the first thing that is wrong.
        """
        match topic:
            case "telemetry.jobs":
                if head.key not in self._site.unit_ids("scheduler"):
                    raise _unknown_key(head)
                return decode_data(JobTable, data)
            case "twin.rack":
                frame = decode_frame(TWIN_RACK, data, {"close": 1})
                check_groups(TWIN_RACK, frame, self._places)
                partition, late = (int(frame.dense["close"][name][0]) for name in ("partition", "late"))
                if head.key.partition("-late-")[0] != str(partition):
                    raise _unknown_key(head)
                return None if late else frame
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


def _unknown_key(head: Head) -> MessageInvalid:
    return MessageInvalid(f"unknown-key: {head.key} is no key of {head.name} here")
