"""The project's own page and its HTTP API: one FastAPI app that reads the bus groupless and history through the store.

Live pictures are in ``live.py``, ``floor.py``, ``pictures.py``; who may do what in ``seats.py`` and ``doors.py``.
To add a route: a file or a function in ``routes/``, and its row in the table of ``tests/console/test_roles.py``.
"""
