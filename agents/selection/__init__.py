"""Selection: which plan an event follows.

Rules narrow the candidates, a chooser picks one with a known propensity. A choice is a function of
versions, event id and context alone, so that it repeats.
"""
