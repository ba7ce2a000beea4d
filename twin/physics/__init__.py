"""The physics: pure functions on numbers or arrays, one file per phenomenon; no I/O, clock, logging or state.

To add a phenomenon: write ``<phenomenon>.py`` with units in every name, a source and a doctest for each
function, list its functions in ``tests/physics/test_contract.py`` and test it against outside numbers.
"""
