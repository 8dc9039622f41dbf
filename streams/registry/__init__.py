"""The registry of models: which versions there are, and which of them is live.

Both stand in topics that every worker reads whole; files stay in the model directory.
"""
