"""What ``colossus store init`` prepares on a server: buckets, retention, mappings for InfluxQL, two tokens.

It can be run again at any time: what is there and right is left, what is there and wrong is mended.
"""

import logging
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from twin.errors import StartError, StoreError
from twin.events.topics import full_name
from twin.store.base import FIVE_MINUTE_RETENTION_MS, LIVE_RETENTION_MS

if TYPE_CHECKING:
    from twin.store.influx_connection import Connection

# By bucket [s]; 0 keeps everything. ``scratch`` is for experiments.
RETENTION_S: Mapping[str, int] = MappingProxyType(
    {"live": LIVE_RETENTION_MS // 1000, "5m": FIVE_MINUTE_RETENTION_MS // 1000, "scratch": 7 * 24 * 3600}
)
_USER = "colossus"
_POLICY = "autogen"

logger = logging.getLogger(__name__)


class Tokens(NamedTuple):
    """What requests are authorized by.

    Attributes
    ----------
    writer
        Reads and writes the buckets: for the workers.
    reader
        Reads them: for Grafana.
    """

    writer: str
    reader: str


def init(
    url: str, org: str, admin_token: str, namespace: str = "", *, retention_s: Mapping[str, int] = RETENTION_S
) -> Tokens:
    """Prepare a server for one namespace; a server that was never set up is set up with this admin token.

    Parameters
    ----------
    url
        Of the server.
    org
        Name of the organization, made if need be.
    admin_token
        A token that may do everything: of a new server the one that it gets.
    namespace
        What the names of the buckets begin with.
    retention_s
        How long each bucket keeps its points [s]; 0: for ever.

    Raises
    ------
    StartError
        The server is away, or does not let this token do it; says what to do.
    """
    from twin.store.influx_connection import SET_ADMIN, Connection

    if not admin_token.strip():
        raise StartError(f"the admin token is empty: {SET_ADMIN}")
    try:
        connection = Connection(url, org, admin_token, SET_ADMIN)
        try:
            return _prepare(connection, org, admin_token, namespace, retention_s)
        finally:
            connection.close()
    except StoreError as error:
        raise StartError(f"the history cannot be prepared: {error}") from error


def _prepare(
    connection: "Connection", org: str, admin_token: str, namespace: str, retention_s: Mapping[str, int]
) -> Tokens:
    names = {full_name(bucket, namespace): kept_s for bucket, kept_s in retention_s.items()}
    if connection.call("GET", "/api/v2/setup")["allowed"]:
        # The password is kept by nobody: people and workers come with tokens.
        first = {"username": _USER, "password": secrets.token_urlsafe(32), "org": org, "token": admin_token}
        connection.call("POST", "/api/v2/setup", body=first | {"bucket": next(iter(names))})
        logger.info("server=%s set_up org=%s user=%s", connection.url, org, _USER)
    org_id = _org(connection, org)
    known = _all(connection, "buckets", [("orgID", org_id)])
    buckets = [_bucket(connection, org_id, known.get(name), name, kept_s) for name, kept_s in names.items()]
    for bucket_id, name in zip(buckets, names, strict=True):
        _mapping(connection, org_id, bucket_id, name)
    return Tokens(
        _token(connection, org_id, _description("writer", namespace), buckets, ("read", "write")),
        _token(connection, org_id, _description("reader", namespace), buckets, ("read",)),
    )


def _all(connection: "Connection", kind: str, query: list[tuple[str, str]]) -> dict[str, Any]:
    """Return all buckets or organizations by name."""
    out: dict[str, Any] = {}
    while True:
        page = connection.call("GET", f"/api/v2/{kind}", [*query, ("limit", "100"), ("offset", str(len(out)))])[kind]
        fresh = {one["name"]: one for one in page if one["name"] not in out}
        if not fresh:
            return out
        out |= fresh


def _org(connection: "Connection", name: str) -> str:
    known = _all(connection, "orgs", []).get(name)
    if known is None:
        known = connection.call("POST", "/api/v2/orgs", body={"name": name})
        logger.info("org=%s made", name)
    return str(known["id"])


def _bucket(connection: "Connection", org_id: str, known: Any, name: str, kept_s: int) -> str:
    """Return the id of a bucket that keeps its points as long as it should."""
    rules = [{"type": "expire", "everySeconds": kept_s, "shardGroupDurationSeconds": _shard_s(kept_s)}]
    if known is None:
        known = connection.call(
            "POST", "/api/v2/buckets", body={"orgID": org_id, "name": name, "retentionRules": rules}
        )
        logger.info("bucket=%s kept_s=%d made", name, kept_s)
    elif kept_s != sum(rule["everySeconds"] for rule in known["retentionRules"]):
        connection.call("PATCH", f"/api/v2/buckets/{known['id']}", body={"retentionRules": rules})
        logger.info("bucket=%s kept_s=%d mended", name, kept_s)
    return str(known["id"])


def _shard_s(kept_s: int) -> int:
    """Return how much goes at once when retention is over [s]; the server's own choice, which it does not renew."""
    day_s = 24 * 3600
    if 0 < kept_s <= 2 * day_s:
        return 3600
    return day_s if 0 < kept_s <= 180 * day_s else 7 * day_s


def _mapping(connection: "Connection", org_id: str, bucket_id: str, name: str) -> None:
    """Let InfluxQL find a bucket as the database of its name; the server's own guess (virtual) is no promise."""
    known = connection.call("GET", "/api/v2/dbrps", [("orgID", org_id), ("db", name)])["content"]
    real = [one for one in known if not one["virtual"] and one["retention_policy"] == _POLICY]
    if any(one["bucketID"] == bucket_id and one["default"] for one in real):
        return
    for one in real:  # of a bucket that is gone, or not the default
        connection.call("DELETE", f"/api/v2/dbrps/{one['id']}", [("orgID", org_id)])
    connection.call(
        "POST",
        "/api/v2/dbrps",
        body={"orgID": org_id, "bucketID": bucket_id, "database": name, "retention_policy": _POLICY, "default": True},
    )
    logger.info("database=%s mapped", name)


def _description(role: str, namespace: str) -> str:
    return f"colossus {role} {namespace}".rstrip()


def _token(
    connection: "Connection", org_id: str, description: str, buckets: list[str], actions: tuple[str, ...]
) -> str:
    """Return the token of that description with exactly these rights; others of that description are taken back."""
    wanted = {(action, "buckets", bucket) for action in actions for bucket in buckets}
    found = ""
    for one in connection.call("GET", "/api/v2/authorizations", [("orgID", org_id)])["authorizations"]:
        if one["description"] != description:
            continue
        rights = {
            (right["action"], right["resource"]["type"], right["resource"].get("id")) for right in one["permissions"]
        }
        if not found and rights == wanted and one["status"] == "active" and one.get("token"):
            found = one["token"]
        else:
            connection.call("DELETE", f"/api/v2/authorizations/{one['id']}")
            logger.info("authorization=%r taken_back", description)
    if found:
        return found
    rights_of = [
        {"action": action, "resource": {"type": kind, "id": bucket, "orgID": org_id}}
        for action, kind, bucket in sorted(wanted)
    ]
    made = connection.call(
        "POST", "/api/v2/authorizations", body={"orgID": org_id, "description": description, "permissions": rights_of}
    )
    logger.info("authorization=%r made", description)
    return str(made["token"])
