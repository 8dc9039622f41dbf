"""Lanes: one partition number of a stage, processed exactly once.

A source joins the group and starts a lane per partition number given; a lane fetches, hands each
batch to its Faust agent, and commits outputs, state and offsets in one transaction. Read `source`,
`lane`, `batch`, `commits`, `producer` in this order.
"""
