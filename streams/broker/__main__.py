"""Run the embedded broker without the rest of the command line: it starts faster.

`python -m batuta.streams.broker --port 0 --until-stdin-closes`
"""

import argparse
import asyncio
import sys
from pathlib import Path

from batuta.schemas.errors import UsageError
from batuta.streams.broker.serving import ServeOptions, serve
from batuta.streams.broker.settings import BrokerSettings

WRONG_USAGE = 2


def main() -> int:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser(prog="batuta broker")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--faults", type=Path)
    parser.add_argument("--until-stdin-closes", action="store_true")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--salvage", action="store_true")
    parser.add_argument("--sync-commits", action="store_true")
    found = parser.parse_args()
    options = ServeOptions(
        found.host,
        found.port,
        found.faults,
        found.until_stdin_closes,
        BrokerSettings(sync_commits=found.sync_commits),
        found.data_dir,
        found.salvage,
    )
    try:
        asyncio.run(serve(options))
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
