"""What an event means beside what came before it: windows, duplicates.

Each module holds one keyed table of a lane's state and the rule that reads and writes it, per
batch and in arrays.
"""
