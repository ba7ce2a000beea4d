"""The sockets: one picture a second for all, a one-place mailbox for each client (console.md section 7.3)."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from twin.console.floor import Floor, FloorPicture
from twin.console.journal import Entry
from twin.console.live import Live
from twin.console.pictures import run_picture, site_picture
from twin.console.rates import Rates
from twin.console.seats import Seat, Seats
from twin.site import Site

BEAT_S = 1.0
IDLE_BEATS_N = 10
EVENTS_N = 1000
MESSAGE_MAX_BYTES = 4096
SOCKETS_PER_SEAT_N = 4
SOCKETS_N = 64
PROTOCOL = 1
FLOOR = "floor:rack:"

NO_SEAT, FELL_BEHIND, SERVER_STOPS, TOO_MANY, TOO_LARGE = 4401, 4409, 4410, 4429, 1009

Picture = str | FloorPicture


class Client:
    """One socket: what it has subscribed to, and what it has not been sent yet."""

    def __init__(self, socket: WebSocket, seat: Seat, number: int) -> None:
        self.socket = socket
        self.seat = seat
        self.number = number
        self.channels = {"run"}
        self.close_code: int | None = None
        self._mailbox: dict[str, Picture] = {}
        self._left_out: set[str] = set()
        self._events: deque[str] = deque()
        self._seqs: dict[str, int] = {}
        self._wake = asyncio.Event()

    def put(self, channel: str, picture: Picture) -> None:
        """Lay a picture into the mailbox; one that was not fetched in time is gone."""
        if channel in self._mailbox:
            self._left_out.add(channel)
        self._mailbox[channel] = picture
        self._wake.set()

    def put_event(self, text: str) -> None:
        """Queue an event; a client that is too far behind must ask anew."""
        if len(self._events) >= EVENTS_N:
            self.close(FELL_BEHIND)
            return
        self._events.append(text)
        self._wake.set()

    def drop(self, channel: str) -> None:
        """End a subscription."""
        self.channels.discard(channel)
        self._mailbox.pop(channel, None)
        if channel == "events":
            self._events.clear()

    def close(self, code: int) -> None:
        """Let the sender close the socket; the first code counts."""
        self.close_code = self.close_code or code
        self._wake.set()

    async def send_all(self) -> None:
        """Send what comes until the socket shall be closed, or has gone.

        One that does not read cannot be told that it is closed: its connection ends with the keep-alive.
        """
        with suppress(WebSocketDisconnect):
            while self.close_code is None:
                await self._wake.wait()
                self._wake.clear()
                while self.close_code is None and (self._mailbox or self._events):
                    if self._events:
                        await self._send("events", self._events.popleft())
                    for channel in tuple(self._mailbox):
                        if (picture := self._mailbox.pop(channel, None)) is not None:
                            await self._send(channel, picture)
            await self.socket.close(self.close_code)

    async def _send(self, channel: str, picture: Picture) -> None:
        seq = self._seqs.get(channel, 0)
        self._seqs[channel] = seq + 1
        left_out = channel in self._left_out
        self._left_out.discard(channel)
        if isinstance(picture, FloorPicture):
            await self.socket.send_bytes(picture.message(seq, left_out=left_out))
        else:
            await self.socket.send_text(f'{{"ch":"{channel}","seq":{seq},{picture}')


class Hub:
    """All clients.

    Parameters
    ----------
    live, floor, site
        What the pictures show.
    seats, rates
        Who may be here, and how often they may ask.
    now_ms
        The wall clock [ms].
    """

    def __init__(
        self, *, live: Live, floor: Floor, site: Site, seats: Seats, rates: Rates, now_ms: Callable[[], int]
    ) -> None:
        self._live = live
        self._floor = floor
        self._site = site
        self._seats = seats
        self._rates = rates
        self._now_ms = now_ms
        self._clients: set[Client] = set()
        self._pictures: dict[str, Picture | None] = {}
        self._beats_n = 0
        self._served_n = 0
        self._stopped = False

    @property
    def clients_n(self) -> int:
        """Count the sockets."""
        return len(self._clients)

    def beat(self) -> None:
        """Make each picture that somebody wants, once, and hand it to all who want it."""
        self._pictures.clear()
        self._beats_n += 1
        if self._beats_n % IDLE_BEATS_N == 0:
            self._floor.update()  # now and then, even if nobody looks, to know later what has fallen silent
        for client in self._clients:
            if not self._seats.holds(client.seat):
                client.close(NO_SEAT)
            for channel in client.channels:
                self._hand(client, channel)

    def publish(self, entry: Entry) -> None:
        """Send a new line of the journal to all who may see it. Runs in the loop."""
        text = _entries_text(self._live, "new", [entry])
        for client in self._clients:
            if "events" in client.channels and (not entry.hidden or client.seat.may("inject")):
                client.put_event(text)

    async def serve(self, socket: WebSocket, seat: Seat | None) -> None:
        """Talk to one client until it goes."""
        await socket.accept()
        code = self._refuse(seat)
        if seat is None or code is not None:
            await socket.close(code or NO_SEAT)
            return
        self._served_n += 1
        client = Client(socket, seat, self._served_n)
        self._clients.add(client)
        sender: asyncio.Task[None] | None = None
        try:
            await socket.send_text(self._hello(seat))
            self._hand(client, "run")
            sender = asyncio.create_task(client.send_all())
            await self._listen(client)
        except WebSocketDisconnect:
            pass  # it has gone
        finally:
            self._clients.discard(client)
            if sender is not None:
                sender.cancel()

    def stop(self) -> None:
        """Tell all clients that the server stops."""
        self._stopped = True
        for client in self._clients:
            client.close(SERVER_STOPS)

    def _refuse(self, seat: Seat | None) -> int | None:
        if seat is None:
            return NO_SEAT
        if self._stopped:
            return SERVER_STOPS
        of_seat_n = sum(client.seat.id == seat.id for client in self._clients)
        return TOO_MANY if of_seat_n >= SOCKETS_PER_SEAT_N or len(self._clients) >= SOCKETS_N else None

    def _hello(self, seat: Seat) -> str:
        control = self._live.control
        return orjson.dumps(
            {
                "ch": "hello",
                "protocol": PROTOCOL,
                "seat": {"role": seat.role, "name": seat.name},
                "run": None if control is None else control.run,
                "site_crc": int(self._site.crc, 16),
                "server_ms": self._now_ms(),
            }
        ).decode()

    async def _listen(self, client: Client) -> None:
        """Obey what the client sends; ends when it has gone."""
        while True:
            message = await client.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            raw = message.get("text") or message.get("bytes") or ""
            if self._rates.take("socket", str(client.number)):
                client.close(TOO_MANY)
            elif len(raw) > MESSAGE_MAX_BYTES:
                client.close(TOO_LARGE)
            elif client.close_code is None:
                self._obey(client, raw)

    def _obey(self, client: Client, raw: str | bytes) -> None:
        try:
            wish = orjson.loads(raw)
        except orjson.JSONDecodeError:
            wish = None
        op, channel = (wish.get("op"), wish.get("ch")) if isinstance(wish, dict) else (None, None)
        if op not in ("sub", "unsub") or not isinstance(channel, str) or not self._knows(channel):
            client.put_event('"error":"not understood: send {op: sub or unsub, ch} with a known channel"}')
        elif op == "unsub":
            if channel != "run":
                client.drop(channel)
        else:
            for other in tuple(client.channels):
                if channel.startswith(FLOOR) and other.startswith(FLOOR) and other != channel:
                    client.drop(other)  # one floor at a time
            client.channels.add(channel)
            if channel == "events":
                entries = self._live.journal.entries(hidden=client.seat.may("inject"))
                client.put_event(_entries_text(self._live, "all", entries))
            self._hand(client, channel)

    def _knows(self, channel: str) -> bool:
        floor_layer = channel.removeprefix(FLOOR) if channel.startswith(FLOOR) else None
        return channel in ("run", "site", "events") or floor_layer in self._floor.layers

    def _hand(self, client: Client, channel: str) -> None:
        if channel not in self._pictures:
            self._pictures[channel] = self._picture(channel)
        if (picture := self._pictures[channel]) is not None:
            client.put(channel, picture)

    def _picture(self, channel: str) -> Picture | None:
        """Make a picture; what is a text lacks its channel and ``seq``, which are each client's own."""
        control = self._live.control
        if channel == "run":
            run = None if control is None else run_picture(self._live, control)
            return _text({"run": run, "server_ms": self._now_ms()})
        if control is None:
            return None
        if channel == "site":
            picture = site_picture(self._live, self._site)
            return None if picture is None else _text({"run": control.run, "epoch": control.epoch, **picture})
        if channel.startswith(FLOOR):
            self._floor.update()
            return self._floor.picture(self._floor.layers[channel.removeprefix(FLOOR)])
        return None


async def beats(hub: Hub, *, now_ms: Callable[[], int], sleep: Callable[[float], Awaitable[None]]) -> None:
    """Beat once a second of the wall clock, for ever."""
    due_ms = now_ms()
    while True:
        hub.beat()
        due_ms = max(due_ms + round(BEAT_S * 1000), now_ms())
        await sleep((due_ms - now_ms()) / 1000)


def _text(fields: dict[str, Any]) -> str:
    return orjson.dumps(fields).decode()[1:]


def _entries_text(live: Live, what: str, entries: Iterable[Entry]) -> str:
    control = live.control
    shown = [{key: value for key, value in asdict(entry).items() if key != "hidden"} for entry in entries]
    return _text(
        {
            "run": None if control is None else control.run,
            "epoch": None if control is None else control.epoch,
            "what": what,
            "entries": shown,
        }
    )
