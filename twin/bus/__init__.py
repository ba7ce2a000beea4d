"""The one seam to Kafka: the port and its implementations.

``base`` is the port; ``memory`` (of ``log``, ``group``, ``cable``) and ``kafka`` (with ``access``, ``kafka_readers``)
are buses, ``faust_memory`` and ``faust_kafka`` Faust's transports over them.
To add a bus: a subclass of ``base.Bus`` here, its row in ``tests/bus/contract.py``.
"""
