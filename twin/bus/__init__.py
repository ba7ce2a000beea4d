"""The one seam to Kafka: the port and its implementations.

``base`` is the port; ``memory`` (of ``log``, ``group``, ``cable``) the bus of the one-process mode; ``faust_memory``
Faust's transport over it. To add a bus: a subclass of ``base.Bus`` here, its row in ``tests/bus/contract.py``.
"""
