"""Alarms: rules as data, the life cycle of ISA-18.2, suppression by cause, KPIs.

The engine that fills this folder reads ``alarm.candidates`` and writes ``alarms``; both topics and their models are
in ``twin/events/alarm.py``. To add a rule: one entry in ``rules/*.yaml``.
"""
