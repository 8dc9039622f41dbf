"""A labelled history through the real topics and agents, and what was decided about each event.

Whatever the pipeline: a publisher that tells how far event time has come, workers in processes of
their own, a reader that counts every decision. What is made of the scores is the evaluation's.
"""
