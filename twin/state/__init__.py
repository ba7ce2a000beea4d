"""The twin's live state: arrays with age, tick, quality and offset of each frame. No I/O, no clock, no stream library.

Keepers take messages and give outputs; the agents around them only carry. To add a derived quantity: its field in
``twin/events/measurements.py``, and its line in ``rollup.py`` (racks, halls) or ``picture.py`` (site).
"""
