"""The one seam to InfluxDB: requests through its client, whose errors become ours; nothing is tried twice here.

The client is imported by the modules above only when they connect: it costs 0.4 s, which a process without InfluxDB
need not pay.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import urllib3
from influxdb_client import InfluxDBClient, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from twin.errors import StoreRejected, StoreUnavailable

TIMEOUT_MS = 10_000
QUERY_TIMEOUT_MS = 30_000  # to the next piece of an answer: five minutes of 3,125 racks take the server 3 s by itself
_FOR_GOOD = frozenset({400, 413, 422})
SET_WRITER = "set COLOSSUS_INFLUX_TOKEN to the writer's token that `colossus store init` prints"
SET_ADMIN = "set COLOSSUS_INFLUX_ADMIN_TOKEN to a token that may do everything there"
# The server has no code of its own for it, and says it only when no worse refusal hides it.
_PAST_RETENTION = re.compile(r"partial write: .*(outside|beyond) retention policy", re.DOTALL)
_TOLD_EVERY_N = 1_000_000  # points that came too late: five minutes of racks
_LONG = 500
_DROPPED = re.compile(r"dropped=(\d+)")

logger = logging.getLogger(__name__)


class Connection:
    """A client of one server, for several threads.

    Parameters
    ----------
    url, org
        Where the server is, and whose data.
    token
        What requests are authorized by.
    what_to_set
        What to do when the server refuses the token.

    Raises
    ------
    StoreUnavailable
        From every method, when the server is away, busy or broken, or does not know the token, the organization or
        the bucket; says what to do.
    StoreRejected
        From every method, when the server refuses what was sent for good.
    """

    def __init__(self, url: str, org: str, token: str, what_to_set: str = SET_WRITER) -> None:
        self.url = url.rstrip("/")
        self._org = org
        self._closed = False
        self._past_retention_n = 0
        self._what_to_do = {
            401: what_to_set,
            403: what_to_set,
            404: "run `colossus store init`, or mend COLOSSUS_INFLUX_URL, COLOSSUS_INFLUX_ORG or COLOSSUS_NAMESPACE",
        }
        if not (token.isascii() and token.isprintable()):  # it would not even go into a header
            raise StoreUnavailable(f"no token of InfluxDB holds such characters: {what_to_set}")
        self._client = InfluxDBClient(self.url, token, timeout=TIMEOUT_MS, org=org)
        self._writer = self._client.write_api(SYNCHRONOUS)
        self._call: Callable[..., Any] = self._client.api_client.call_api

    def close(self) -> None:
        """Let go of all connections; requests that are under way end first."""
        self._closed = True
        self._client.api_client.rest_client.pool_manager.clear()

    def write(self, bucket: str, lines: bytes) -> None:
        """Write line protocol with times in ms; points past the bucket's retention are dropped, which is no error."""
        try:
            with self._translated():
                self._writer.write(bucket, record=lines, write_precision=WritePrecision.MS)
        except StoreRejected as error:
            if not _PAST_RETENTION.search(str(error)):
                raise
            dropped = _DROPPED.search(str(error))
            before = self._past_retention_n
            self._past_retention_n += int(dropped[1]) if dropped else 1
            if not before or before // _TOLD_EVERY_N < self._past_retention_n // _TOLD_EVERY_N:
                logger.warning("bucket=%s past_retention_n=%d", bucket, self._past_retention_n)

    def query(self, bucket: str, text: str) -> Iterator[dict[str, Any]]:
        """Return the results of InfluxQL, statement by statement and piece by piece, as they arrive.

        Yields
        ------
        dict
            ``statement_id``, and ``series`` if there are any; a long series comes in several pieces, one after another.
        """
        with self._translated():
            answer: urllib3.HTTPResponse = self._call(
                "/query",
                "POST",
                query_params=[("db", bucket), ("epoch", "ms"), ("chunked", "true")],
                header_params={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                post_params=[("q", text)],
                _request_timeout=(TIMEOUT_MS, QUERY_TIMEOUT_MS),
                _preload_content=False,
                _return_http_data_only=True,
            )
            try:
                for line in answer:
                    for result in _json(line)["results"] if line.strip() else ():
                        self._refuse_failed(bucket, result)
                        yield result
            finally:
                answer.close()  # one that was read to its end is back in the pool already

    def delete(self, bucket: str, end_ms: int) -> None:
        """Delete all points of a bucket that are older."""
        last = datetime.fromtimestamp((end_ms - 1) / 1000, UTC)
        times = {"start": "1970-01-01T00:00:00Z", "stop": last.isoformat(timespec="milliseconds")}
        self.call("POST", "/api/v2/delete", [("org", self._org), ("bucket", bucket)], times)

    def call(
        self, method: str, path: str, query: Iterable[tuple[str, str]] = (), body: Mapping[str, object] | None = None
    ) -> Any:
        """Call the HTTP API and return its JSON; ``None`` if it answers nothing."""
        with self._translated():
            answer: urllib3.HTTPResponse = self._call(
                path,
                method,
                query_params=list(query),
                header_params={"Content-Type": "application/json", "Accept": "application/json"},
                body=body,
                _preload_content=False,
                _return_http_data_only=True,
            )
            return _json(answer.data) if answer.data else None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let no exception of the client out."""
        if self._closed:
            raise StoreUnavailable(f"the history at {self.url} is closed")
        try:
            yield
        except ApiException as error:
            raise self._refusal(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreUnavailable(
                f"InfluxDB does not answer at {self.url} ({reason}): start it, or mend COLOSSUS_INFLUX_URL"
            ) from error
        except orjson.JSONDecodeError as error:
            raise StoreUnavailable(f"{self.url} is no InfluxDB: mend COLOSSUS_INFLUX_URL") from error

    def _refusal(self, error: ApiException) -> StoreUnavailable | StoreRejected:
        if not error.status:
            return StoreUnavailable(
                f"InfluxDB does not answer at {self.url} ({_message(error)}): start it, or mend COLOSSUS_INFLUX_URL"
            )
        said = f"InfluxDB at {self.url} refuses ({error.status}): {_message(error)}"
        if error.status in _FOR_GOOD:
            return StoreRejected(said)
        what_to_do = self._what_to_do.get(error.status)
        return StoreUnavailable(f"{said}; {what_to_do}" if what_to_do else said)

    def _refuse_failed(self, bucket: str, result: Mapping[str, Any]) -> None:
        """Raise what a statement failed by: the server answers 200 all the same."""
        reason = result.get("error")
        if reason is None:
            return
        if "database not found" in reason:
            raise StoreUnavailable(
                f"InfluxDB at {self.url} has no database {bucket!r} that this token may read: run `colossus store "
                "init` and set COLOSSUS_INFLUX_TOKEN to the token that it prints"
            )
        raise StoreUnavailable(f"InfluxDB at {self.url} cannot answer: {reason}")


def _json(text: bytes) -> Any:
    return orjson.loads(text)


def _message(error: ApiException) -> str:
    """Return in one line what the server says."""
    body = error.body or error.reason or ""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    with suppress(orjson.JSONDecodeError, AttributeError):  # what a proxy says is no JSON: as it is
        text = orjson.loads(text).get("message", text)
    line = " ".join(text.split())
    return line if len(line) <= _LONG else f"{line[: _LONG // 2]} ... {line[-_LONG // 2 :]}"
