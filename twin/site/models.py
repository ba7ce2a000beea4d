"""The models of a site file as a whole, and :class:`Site`, which the rest of the twin uses."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from twin.errors import SiteInvalid
from twin.site.compute import GpuModel, Job, Network, Rack, Server
from twin.site.cooling import Cdu, Chiller, Loop, Pump, Room, Tower, Water
from twin.site.fields import Count, Name, Nameplate, Number
from twin.site.graph import SiteGraph, build_graph
from twin.site.layout import Layout, build_layout
from twin.site.power import (
    Battery,
    Electrical,
    Feed,
    Gas,
    Permit,
    Prices,
    Scr,
    Turbine,
    Ups,
)
from twin.site.units import Unit, UnitKind, build_units

REFERENCE_GPUS_N = 200_000
"""Bands, limits and drills are written for a site of this many GPUs."""

Sure = Literal["confirmed", "reported", "claimed", "inferred", "assumption"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a number comes from, and how sure it is."""

    source: str
    sure: Sure


class Hall(Nameplate):
    """One compute hall; it has a cooling plant, a UPS and a meter of its own."""

    id: Annotated[str, Field(strict=True, pattern=r"^H[1-9]\d*$")]
    gpu: Name = Field(description="a key of gpus")
    racks_n: Count


class Range(Nameplate):
    """The lowest and the highest value at which the model still means something."""

    low: Number
    high: Number

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        return self


class Limits(Nameplate):
    """The limits of the simulation."""

    gpu_temp_c: Range
    loop_supply_c: Range
    frequency_hz: Range
    wet_bulb_c: Range


class SiteFile(Nameplate):
    """All that a site file says: what exists, with nameplate values."""

    schema_version: Literal["site/1"] = Field(alias="schema")
    id: Annotated[str, Field(strict=True, pattern=r"^[a-z][a-z0-9-]*$")]
    title: Name
    timezone: Name
    utc_offset_h: Number = Field(ge=-14, le=14, description="local standard time [h]")
    latitude_deg: Number = Field(ge=-90, le=90)
    longitude_deg: Number = Field(ge=-180, le=180)
    elevation_m: Number
    weather: Name = Field(description="a file of twin/site/weather, without .csv")
    gpus: dict[str, GpuModel]
    server: Server
    rack: Rack
    halls: Annotated[tuple[Hall, ...], Field(min_length=1)]
    cdu: Cdu
    loop: Loop
    pump: Pump
    tower: Tower
    chiller: Chiller
    room: Room
    water: Water
    turbine: Turbine
    gas: Gas
    scr: Scr
    battery: Battery
    feed: Feed
    ups: Ups
    electrical: Electrical
    network: Network
    permit: Permit
    prices: Prices
    jobs: dict[Annotated[str, Field(pattern=r"^job-[a-z0-9-]+$")], Job]
    limits: Limits

    @property
    def gpus_n(self) -> int:
        """Count the GPUs of all racks."""
        racks_n = sum(hall.racks_n for hall in self.halls)
        return racks_n * self.rack.servers_n * self.rack.gpus_per_server_n


class Site(SiteFile):
    """A site: its nameplate values, and what follows from them, worked out once on first use."""

    sources: Mapping[str, Source]
    crc: str

    @property
    def scale(self) -> float:
        """Divide the number of GPUs by the 200,000 for which limits are written."""
        return self.gpus_n / REFERENCE_GPUS_N

    @cached_property
    def layout(self) -> Layout:
        """Lay halls, arrays, racks and GPUs out as arrays."""
        return build_layout(
            hall_racks=tuple((hall.id, hall.racks_n) for hall in self.halls),
            servers_per_rack=self.rack.servers_n,
            gpus_per_server=self.rack.gpus_per_server_n,
            racks_per_array=self.rack.racks_per_array_n,
            arrays_per_row=self.rack.arrays_per_row_n,
            arrays_per_branch=self.loop.arrays_per_branch_n,
        )

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """List every unit, plant by plant."""
        return build_units(
            self.layout,
            pumps_per_hall=self.pump.duty_n + self.pump.standby_n,
            cells_per_tower=self.tower.cells_n,
            chillers_per_hall=self.chiller.per_hall_n,
            turbines=self.turbine.units_n,
            turbines_per_skid=self.gas.turbines_per_skid_n,
            turbines_per_scr=self.scr.turbines_per_unit_n,
            rails=self.network.rails_n,
        )

    @cached_property
    def graph(self) -> SiteGraph:
        """Draw what contains, feeds, cools and connects what."""
        return build_graph(
            self.id,
            self.layout,
            self.units,
            turbines_per_skid=self.gas.turbines_per_skid_n,
            turbines_per_scr=self.scr.turbines_per_unit_n,
        )

    @cached_property
    def _unit_by_id(self) -> dict[str, Unit]:
        return {unit.id: unit for unit in self.units}

    def unit(self, unit_id: str) -> Unit:
        """Find a unit by its id.

        Raises
        ------
        SiteInvalid
            No such unit; the text says which ids come near.
        """
        try:
            return self._unit_by_id[unit_id]
        except KeyError:
            near = difflib.get_close_matches(unit_id, self._unit_by_id, n=3)
            hint = f"; near: {', '.join(near)}" if near else ""
            raise SiteInvalid(f"site {self.id} has no unit {unit_id!r}{hint}") from None

    def unit_ids(self, kind: UnitKind, plant: str | None = None) -> tuple[str, ...]:
        """List the ids of all units of a kind, of one plant or of all, in site order."""
        return tuple(unit.id for unit in self.units if unit.kind == kind and (plant is None or unit.plant == plant))

    def gpu_model(self, hall: str) -> GpuModel:
        """Give the kind of GPU that a hall holds.

        Raises
        ------
        SiteInvalid
            No such hall.
        """
        return self.gpus[self.halls[self.layout.hall_index(hall)].gpu]
