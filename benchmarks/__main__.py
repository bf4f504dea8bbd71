"""``python -m benchmarks overhead | resilience | local | replay``, from the root of the repository."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import local, overhead, replay, resilience


def main() -> None:
    """Run what the command line asks for; a missed target is printed, not an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "resilience", help="attempts, successes and recovery while targets fail; half a minute"
    )
    command = commands.add_parser("overhead", help="plain and wrapped clients against a loopback server")
    command.add_argument(
        "--quick", action="store_true", help="about 30 seconds instead of 4 minutes, and noisier"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    command = commands.add_parser(
        "local", help="the gateway in the process: calls, hits, streams, reservations"
    )
    command.add_argument("--quick", action="store_true", help="a few seconds, and noisier")
    command = commands.add_parser("replay", help="recorded calls: replayed, loaded, the plugin's import")
    command.add_argument("--quick", action="store_true", help="a few seconds, and noisier")
    options = parser.parse_args()
    if options.command == "resilience":
        resilience.run()
    elif options.command == "local":
        local.run(quick=options.quick)
    elif options.command == "replay":
        replay.run(quick=options.quick)
    else:
        overhead.run(quick=options.quick, json_file=options.json)


if __name__ == "__main__":
    main()
