"""The fraud pipeline: card transactions in, approve, review or block out.

The only room beside `batuta.schemas.fraud` that knows what a card or a terminal is.
"""
