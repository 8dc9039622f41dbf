"""Labelled data sets from files: columns of Parquet, small JSON; `agents` say what they mean.

Only formats that cannot run code are read: nothing from outside is ever unpickled.
"""
