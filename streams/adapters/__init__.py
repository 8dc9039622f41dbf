"""Model adapters: what loads a file or calls a server behind the model port.

Each module is one adapter; agents know only `batuta.agents.models.port`.
"""
