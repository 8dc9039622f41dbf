"""Trust, but verify: what is checked between steps, what is done about what fails, what may act.

A checkpoint holds checks, one component per file, each over whole batches with a reason code per
event. What raises, hangs or answers nonsense has failed, never passed.
"""
