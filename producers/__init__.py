"""The plant side: what the gateways of the real site do. Telemetry out, commands and injects in.

To add the telemetry of a device: its columns in ``twin/events``, its file here, its row in ``families.PRODUCERS``.
"""
