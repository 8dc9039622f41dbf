"""Budgets: what models may cost within a window of time, held across lanes, workers and crashes.

One owner lane per budget leases amounts to the lanes that ask models. What is leased counts as
spent until it comes back, so no crash and no late answer can spend more than the limit.
"""
