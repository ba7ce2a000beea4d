"""The head of every message: who says what of which run, epoch and tick (DESIGN.md section 4).

A message is ``{"head":{…},"data":{…}}`` with the head first, so that player and dedupe never parse the data.
"""

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twin.errors import ForeignMajor, MessageInvalid

M = TypeVar("M", bound=BaseModel)

_OPEN = b'{"head":{'
_SEAM = b'},"data":'
RUN_PATTERN = r"^\d{8}T\d{6}Z-[0-9a-f]{4}$"


class Head(BaseModel):
    """Identity and time of one message.

    ``run`` names a lineage, ``epoch`` a stretch of it without a jump, ``tick`` the simulated step, ``seq``
    counts per key and epoch, ``ts`` is display time [ms since 1970].
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_id: str = Field(alias="schema", pattern=r"^[a-z][a-z_.]*/\d+$")
    run: str = Field(pattern=RUN_PATTERN)
    epoch: int = Field(ge=0, lt=2**31)
    tick: int = Field(ge=0, lt=2**53)
    seq: int = Field(ge=0, lt=2**53)
    ts: int = Field(ge=0, lt=2**53)
    dt_s: float = Field(gt=0, le=3600)
    key: str = Field(min_length=1, max_length=200)

    @property
    def name(self) -> str:
        """The schema's name without its major version."""
        return self.schema_id.partition("/")[0]

    @property
    def major(self) -> int:
        """The major version of the schema."""
        return int(self.schema_id.partition("/")[2])


def head_bytes(head: Head) -> bytes:
    """Encode a head alone."""
    return orjson.dumps(head.model_dump(by_alias=True))


def encode(head: Head, data: bytes) -> bytes:
    """Join a head and encoded data to the bytes of a message.

    Parameters
    ----------
    head
        The identity.
    data
        A JSON object, already encoded.
    """
    return b'{"head":' + head_bytes(head) + b',"data":' + data + b"}"


def encode_model(head: Head, data: BaseModel) -> bytes:
    """Encode a message whose data is a pydantic model."""
    return encode(head, data.model_dump_json(by_alias=True).encode())


def decode_model(raw: bytes | None, schema_id: str, model: type[M]) -> tuple[Head, M]:
    """Read a message whose data is a pydantic model.

    Raises
    ------
    MessageInvalid
        With the first thing that is wrong.
    """
    head, data = split(raw)
    check_schema(head, schema_id)
    return head, decode_data(model, data)


def decode_data(model: type[M], data: bytes) -> M:
    """Read data that is a model, by the letter: no text for a number, no number that JSON cannot carry on.

    Raises
    ------
    MessageInvalid
        With the first thing that is wrong.
    """
    try:
        # Whole numbers of more than 64 bits become floats here, and are then refused where one is expected.
        return model.model_validate_json(_dumps(_loads(data)), strict=True)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise MessageInvalid(f"bad-data: {'.'.join(map(str, first['loc']))}: {first['msg']}") from exc


def check_schema(head: Head, schema_id: str) -> None:
    """Refuse a message of another schema, or of another major version of it.

    Raises
    ------
    MessageInvalid
        With the reason.
    """
    if head.schema_id == schema_id:
        return
    if head.name == schema_id.partition("/")[0]:
        raise ForeignMajor(f"other-major: {head.schema_id}, expected {schema_id}")
    raise MessageInvalid(f"unknown-schema: {head.schema_id}, expected {schema_id}")


def split(raw: bytes | None) -> tuple[Head, bytes]:
    """Take a message apart without parsing its data.

    Parameters
    ----------
    raw
        Bytes of a topic.

    Returns
    -------
    tuple
        The head, and the data as bytes.

    Raises
    ------
    MessageInvalid
        The bytes have no head of ours; the text is the reason.
    """
    if not raw:
        raise MessageInvalid("empty: a message has a head and data")
    seam = raw.find(_SEAM) if raw.startswith(_OPEN) and raw.endswith(b"}") else -1
    if seam > 0:
        return _head(raw[8 : seam + 1]), raw[seam + len(_SEAM) : -1]
    # Another encoder may put spaces or another order: right, but slower.
    whole = _loads(raw)
    if not isinstance(whole, dict) or set(whole) != {"head", "data"}:
        raise MessageInvalid('no-head: expected {"head":{…},"data":{…}}')
    return _head(_dumps(whole["head"])), _dumps(whole["data"])


def splice(raw: bytes, head: Head) -> bytes:
    """Give a message another head and leave the bytes of its data as they are.

    Raises
    ------
    MessageInvalid
        ``raw`` is no message of ours.
    """
    return encode(head, split(raw)[1])


def told(raw: bytes | None) -> tuple[dict[str, Any], int] | None:
    """Read the head of a message as it is told, unchecked: for who passes messages on and trusts where they are from.

    Returns
    -------
    tuple
        The head, and where the data begins in ``raw``; ``None``: it is no message in our own form.

    Examples
    --------
    >>> told(b'{"head":{"tick":7},"data":{}}')
    ({'tick': 7}, 26)
    """
    if raw is None or not raw.startswith(_OPEN):
        return None
    seam = raw.find(_SEAM)
    if seam < 0:
        return None
    try:
        head = orjson.loads(raw[8 : seam + 1])
    except orjson.JSONDecodeError:
        return None
    return head, seam + len(_SEAM)


def retold(raw: bytes, at: int, head: dict[str, Any]) -> bytes:
    """Give a message of :func:`told` another head; every byte of its data stays.

    Examples
    --------
    >>> retold(b'{"head":{"tick":7},"data":{}}', 26, {"tick": 8})
    b'{"head":{"tick":8},"data":{}}'
    """
    return b'{"head":' + orjson.dumps(head) + b',"data":' + raw[at:]


def _loads(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise MessageInvalid(f"not-json: {exc}") from exc


def _dumps(part: Any) -> bytes:
    try:
        return orjson.dumps(part)
    except orjson.JSONEncodeError as exc:
        raise MessageInvalid(f"not-json: {exc}") from exc  # nested deeper than orjson writes


def _head(raw: bytes) -> Head:
    try:
        return Head.model_validate_json(raw)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "head"
        reason = "not-json" if first["type"] == "json_invalid" else "bad-head"
        raise MessageInvalid(f"{reason}: {where}: {first['msg']}") from exc
