"""Rules: expressions in CEL, checked when a pipeline is loaded, answered for whole batches.

An expression that cannot be answered for an event says so; whoever asked sends the event to a
person. Simple expressions run as array code, held equal to CEL's own answers by property tests.
"""
