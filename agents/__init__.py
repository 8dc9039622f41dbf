"""Who thinks: pure agents, events in and events out.

Nothing here opens a socket, reads a clock or draws a random number: state, time, randomness and
models arrive through the context. It imports `batuta.schemas` and nothing else of ours.
"""
