"""Colossus twin: an event-driven digital twin of an AI data center."""
