"""What both of our Faust consumers do with an acknowledgement that comes after a rebalance."""

from typing import Any

from faust.types import Message


class CarefulAcks:
    """Mixed into a Faust consumer, before its own class."""

    app: Any
    flow_active: bool

    def ack(self, message: Message) -> bool:
        """Acknowledge a message, unless a stream passed it over.

        Faust's streams in pure Python acknowledge what they skip because a rebalance came between, though nobody has
        dealt with it: the next owner must get it.
        """
        current = self.flow_active and message.generation_id == self.app.consumer_generation_id
        if not (message.tracked or current):
            return False
        acknowledged: bool = super().ack(message)  # type: ignore[misc]
        return acknowledged
