"""Every message of the twin: heads, frames as tables of columns, models, topics, and the store's measurements.

To add a telemetry column: one line in its family's file (``gpu.py``, ``chillers.py``, …).
To add a topic: its row in ``topics.py``, its family or model, its schema (``colossus schemas``).
"""
