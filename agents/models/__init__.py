"""Models as agents see them: the port every model answers through, and how one is trained.

Whatever loads a file or calls a server is an adapter and lives in `batuta.streams.adapters`.
"""
