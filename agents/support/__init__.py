"""The support pipeline: short messages in, routine or urgent out.

The smallest pipeline in which models of all kinds work on the same event, one after the other. The
only room beside `batuta.schemas.support` that knows what a message says.
"""
