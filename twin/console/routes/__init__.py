"""The routes of the console, thin: check, call a part, answer.

Each file has one function that makes a router for the parts of an app.
To add a route: here, and in the table of ``tests/console/test_roles.py``.
"""
