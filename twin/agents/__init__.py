"""The observer's Faust apps: decode, call a plain function, send. Thin: what they know is in ``twin/state``.

To add a stream processor: ``attach(app, context)`` in a file of its own, and its row in ``apps.APPS``.
"""
