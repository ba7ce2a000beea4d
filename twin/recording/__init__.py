"""Recordings: MCAP files of topics, how they are written, read, mended, and played.

To add a fact about a message that MCAP has no place for: its column in ``envelope.Envelope``.
"""
