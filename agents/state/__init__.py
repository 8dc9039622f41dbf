"""State: what a lane remembers, as tables whose changes travel with the batch that made them.

`port` says what every table does over the life of a batch, `battery` holds a table to it; `codecs`
and `agenda` are what tables are made of, and the other modules are such tables.
"""
