"""A model server that misbehaves on purpose: test equipment for everything that asks models.

It speaks Open Inference Protocol v2 and OpenAI-compatible chat. How it behaves stands in the path,
so that one server is honest and lies, hangs and overcharges at the same time.
"""
