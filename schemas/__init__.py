"""What may travel: the events, records and errors that cross a topic, and the codec for them.

Nothing here does I/O and nothing here imports the other rooms. Every byte that enters or leaves
batuta passes through `batuta.schemas.codec`.
"""
