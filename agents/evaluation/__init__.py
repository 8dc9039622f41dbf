"""How well scores tell positives from the rest: figures, curves, and whose rows count.

Pure arithmetic on arrays: labels, scores, days, entities. Each figure names where it is defined.
Reading files, running the pipeline and drawing pages belong to `batuta.streams`.
"""
