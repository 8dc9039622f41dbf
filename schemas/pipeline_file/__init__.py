"""The pipeline file: one YAML text that says what a pipeline is.

Read it with `batuta.schemas.pipeline_file.reading`; what it means is compiled by
`batuta.agents.compiler`. Every problem is told with its line, column, field, value and remedy.
"""
