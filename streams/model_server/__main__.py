"""Serve until stdin closes: `python -m batuta.streams.model_server --port 0 --delay-ms 50`."""

import argparse
import asyncio
import sys

from batuta.streams.model_server.server import ModelServer


async def _serve(port: int, delay_ms: int) -> None:
    async with ModelServer(port, delay_ms) as server:
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser(prog="batuta.streams.model_server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=int, default=0)
    found = parser.parse_args()
    asyncio.run(_serve(found.port, found.delay_ms))


if __name__ == "__main__":
    main()
