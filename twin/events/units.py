"""Units by the suffix of a name: said once, here, for wire, store and screens."""

from typing import NamedTuple


class Unit(NamedTuple):
    """A unit as people read it and as Grafana names it."""

    symbol: str
    grafana: str


_BY_SUFFIX: dict[str, Unit] = {
    "_kj_kwh": Unit("kJ/kWh", "suffix: kJ/kWh"),
    "_l_kwh": Unit("L/kWh", "suffix: L/kWh"),
    "_kg_kwh": Unit("kg/kWh", "suffix: kg/kWh"),
    "_usd_h": Unit("USD/h", "currencyUSD"),
    "_l_min": Unit("L/min", "flowlpm"),
    "_hz_s": Unit("Hz/s", "suffix: Hz/s"),
    "_w_s": Unit("W/s", "si:W/s"),
    "_gpu_h": Unit("GPU h", "suffix: GPU h"),
    "_usd": Unit("USD", "currencyUSD"),
    "_ston": Unit("short tons", "suffix: short tons"),
    "_code": Unit("", "none"),
    "_ratio": Unit("", "percentunit"),
    "_mhz": Unit("MHz", "suffix: MHz"),
    "_mib": Unit("MiB", "mbytes"),
    "_ppm": Unit("ppm", "ppm"),
    "_wh": Unit("Wh", "watth"),
    "_hz": Unit("Hz", "hertz"),
    "_kg": Unit("kg", "masskg"),
    "_pa": Unit("Pa", "pressurepa"),
    "_pu": Unit("pu", "suffix: pu"),
    "_w": Unit("W", "watt"),
    "_c": Unit("C", "celsius"),
    "_k": Unit("K", "kelvin"),
    "_s": Unit("s", "s"),
    "_h": Unit("h", "h"),
    "_l": Unit("L", "litre"),
    "_n": Unit("", "locale"),
}
_RATIO = Unit("", "percentunit")
_PLAIN = Unit("", "none")
# Plain numbers and flags whose names carry no suffix.
_PLAIN_NAMES = frozenset(
    {
        "cop", "pue", "speed", "tripped", "running", "closed", "islanded", "leak", "latched", "active",
        "acked", "shelved", "suppressed", "raised", "late", "watermark", "partition", "value", "limit",
        "clocks_event_reasons", "xid", "ecc_dbe", "row_remap_failed", "nvlink_errors", "gpu", "bin", "n",
        "rack_i", "hall_i", "scope_i", "cop_residual",
    }
)  # fmt: skip


def unit_of(name: str) -> Unit:
    """Return the unit that the suffix of a quantity's name decides.

    Parameters
    ----------
    name
        A column or field, such as ``gpu_temp_c``.

    Examples
    --------
    >>> unit_of("gpu_temp_c").symbol
    'C'
    >>> unit_of("sm_active").grafana
    'percentunit'
    >>> unit_of("facility_flow_l_min").symbol
    'L/min'
    """
    if name in _PLAIN_NAMES or name.startswith(("t_lt_", "t_ge_", "p_lt_", "p_ge_")):
        return _PLAIN
    for suffix, unit in _BY_SUFFIX.items():
        if name.endswith(suffix):
            return unit
    return _RATIO
