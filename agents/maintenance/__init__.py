"""The maintenance pipeline: sensor readings in, ordinary or suspicious out.

The only room beside `batuta.schemas.maintenance` that knows what an asset or a sensor is.
"""
