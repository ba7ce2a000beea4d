"""Benchmarks: every figure that the README quotes is made here; they print, tests assert nothing of them.

To add a figure: its key in the function's result; a new benchmark is a verb of ``colossus bench``.
"""
