"""Pipelines on disk: files found by name or path, their parts imported, the whole compiled.

The only room that imports what a pipeline file names. Nothing is downloaded, and nothing runs that
the file does not name.
"""
