"""Telemetry: what a worker counts, times and logs, and how Prometheus reads it.

Code tells named facts (`facts`); each owns its counter and its log line. `stage_telemetry` is what
a stage tells them to.
"""
