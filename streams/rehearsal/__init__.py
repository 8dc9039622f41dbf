"""The rehearsal: the whole house in one process on virtual time, under faults drawn from a seed.

Real here are the lanes, the stages with their agents, and the broker's logic with its recovery;
simulated are time, the network, the disk, the processes and the models. The same seed gives the
same history, so a failure found once is a failure that can be looked at.
"""
