"""A real InfluxDB 2.7 of one node; whoever needs buckets and tokens sets it up with its admin token."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx2

from tests.stack.servers.fetching import influxd
from tests.stack.servers.running import Server

ORG = "colossus"


class Influx(Server):
    """InfluxDB.

    Attributes
    ----------
    url, org
        Where it is.
    """

    name = "InfluxDB"

    def __init__(self, folder: Path, *, port: int) -> None:
        super().__init__(folder)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.org = ORG
        self._program = influxd()

    @property
    def admin_token(self) -> str:
        """The token that the first set-up gives all rights; drawn with the data folder."""
        kept = self.folder / "admin-token"
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(secrets.token_hex(32))
        return kept.read_text()

    def prepare(self) -> None:
        """It needs nothing."""

    def command(self) -> Sequence[str]:
        return [
            str(self._program),
            "--bolt-path=influxd.bolt",
            "--engine-path=engine",
            "--sqlite-path=influxd.sqlite",
            f"--http-bind-address=127.0.0.1:{self.port}",
            "--reporting-disabled",
            "--store=disk",
        ]

    def environment(self) -> Mapping[str, str]:
        return {"INFLUXD_CONFIG_PATH": str(self.folder)}

    def ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health", timeout=1.0).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False
