"""The command line: one console script, one module per command.

Results go to stdout, as one JSON object where `--json` is given; logs and progress go to stderr.
Exit codes: 0 yes, 1 a negative answer, 2 wrong usage or file, 3 the outside world is out of reach.
"""

__all__ = ["main"]


def main() -> int:
    """Run the console script `batuta` and return its exit code."""
    from batuta.streams.cli.app import app
    from batuta.streams.cli.exits import exit_code_of

    return exit_code_of(app)
