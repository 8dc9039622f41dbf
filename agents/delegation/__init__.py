"""Delegation: which models are asked about which events, in what order, and what comes of it.

Plans are trees; a walk over a tree says, from what was heard so far, what is known and who is to be
asked next, for a whole batch at once. So work can be parked, written down and taken up again.
"""
