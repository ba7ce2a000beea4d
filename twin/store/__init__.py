"""The history: the port with its four reads (``base``), DuckDB files (``duck*``) or InfluxDB (``influx*``) behind it.

To add a store: ``<name>.py`` with a subclass of ``Store``, and its row in ``IMPLEMENTATIONS`` of the contract
suite (``tests/store``). A new measurement or field needs nothing here: the table is ``twin/events/measurements.py``.
"""

from twin.store.base import Bucket, Event, Points, Rows, Series, Store

__all__ = ["Bucket", "Event", "Points", "Rows", "Series", "Store"]
