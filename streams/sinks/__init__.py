"""Sinks: where notifications leave batuta.

Each module is one sink behind the `Sink` port; a delivery carries a stable id, so that a receiver
can tell a retry from a second notification.
"""
