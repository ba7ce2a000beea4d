"""An MCAP file record by record: heads and checksums, without trust in what the file says of itself."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple, Self

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Attachment

from twin.errors import RecordingInvalid

MAGIC = b"\x89MCAP0\r\n"
HEAD_BYTES = 9
_FOOTER_BYTES = HEAD_BYTES + 20
_OWN_OPCODES = 0x80  # from here on they are anybody's, and passed over
_READ_BYTES = 1 << 20


class Head(NamedTuple):
    """Where a record stands, and what it is.

    Attributes
    ----------
    offset
        Of its first byte in the file.
    length
        Of its content, which follows the nine bytes of the head [B].
    """

    offset: int
    opcode: int
    length: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + HEAD_BYTES + self.length

    @classmethod
    def of_record(cls, offset: int, opcode: int, record_bytes: int) -> Self:
        """Return the head of a record that is so long, itself included [B]."""
        return cls(offset, opcode, record_bytes - HEAD_BYTES)

    def packed(self) -> bytes:
        """Return it as it stands in a file."""
        return struct.pack("<BQ", self.opcode, self.length)


class Walk:
    """Goes through a file from head to head, to the footer or to where it cannot go on.

    Parameters
    ----------
    stream
        Of a file that begins as an MCAP file does.
    size
        How long it is [B].

    Attributes
    ----------
    end
        How far the whole records reach.
    problem
        Why it does not go on there; empty after a footer.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self.end = len(MAGIC)
        self.problem = ""

    def __iter__(self) -> Iterator[Head]:
        while True:
            self._stream.seek(self.end)
            head = self._stream.read(HEAD_BYTES)
            if len(head) < HEAD_BYTES:
                self.problem = "the file ends here"
                return
            found = Head(self.end, *struct.unpack("<BQ", head))
            if not (Opcode.HEADER <= found.opcode <= Opcode.DATA_END or found.opcode >= _OWN_OPCODES):
                self.problem = "no record begins here"
                return
            if found.end > self._size:
                self.problem = f"a record of {found.length} bytes is cut off after {self._size - self.end - HEAD_BYTES}"
                return
            self.end = found.end
            yield found
            if found.opcode == Opcode.FOOTER:
                return


def content(stream: BinaryIO, head: Head) -> bytes:
    """Read what follows a head."""
    stream.seek(head.offset + HEAD_BYTES)
    return stream.read(head.length)


def stream_of(data: bytes) -> ReadDataStream:
    """Give bytes the form in which records are read."""
    return ReadDataStream(BytesIO(data))


def attachment_of(record: bytes) -> Attachment:
    """Read an attachment's record.

    Raises
    ------
    ValueError
        Its checksum is wrong.
    """
    (told,) = struct.unpack("<I", record[-4:])
    if told and told != zlib.crc32(record[:-4]):
        raise ValueError("its checksum is wrong")
    return Attachment.read(stream_of(record))


def checksum(stream: BinaryIO, start: int, end: int) -> int:
    """Return the CRC-32 of a part of a file."""
    stream.seek(start)
    crc, left = 0, end - start
    while left > 0 and (data := stream.read(min(left, _READ_BYTES))):
        crc = zlib.crc32(data, crc)
        left -= len(data)
    return crc


def check_summary(stream: BinaryIO, size: int) -> None:
    """Check that the index at the end of a file is as it was written.

    Raises
    ------
    RecordingInvalid
        It is not; a file without one passes.
    """
    end = size - len(MAGIC)
    stream.seek(max(0, end - _FOOTER_BYTES))
    footer = stream.read(_FOOTER_BYTES)
    if len(footer) < _FOOTER_BYTES or footer[0] != Opcode.FOOTER:
        raise RecordingInvalid("it has no footer")
    start, _, told = struct.unpack("<QQI", footer[HEAD_BYTES:])
    if start > end:
        raise RecordingInvalid("its index would begin after its end")
    if start and told and told != checksum(stream, start, end - 4):
        raise RecordingInvalid("the checksum of its index is wrong")
