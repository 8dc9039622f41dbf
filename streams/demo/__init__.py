"""The demonstration: a pipeline at work on generated events, watched by a reader of its own.

It publishes, counts what comes back, and proves that nothing was lost or doubled: every good event
must end as exactly one decision, every spoiled one as exactly one dead letter.
"""
