"""How events flow: the only room with I/O.

Kafka clients, the embedded broker, exactly-once lanes, state, model adapters, sinks, telemetry
and the command line live here. It imports `batuta.agents` and `batuta.schemas`; neither imports it.
"""
