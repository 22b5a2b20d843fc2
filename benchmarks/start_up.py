"""How long a command takes to begin: the help of each, over that of `train --help`.

Each is started in a process of its own, in turns, so that what else the machine does falls on all
of them alike; the least time of each counts. Run: python -m benchmarks.start_up
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

COMMANDS = ("train", "generate", "edit", "reconstruct", "models", "data", "evaluate", "listen")
BASE = "train"


def seconds(arguments: list[str]) -> float:
    """Wall-clock time of a process."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    least: dict[str, float] = {}
    for _ in range(rounds):
        for name in COMMANDS:
            spent = seconds(["-m", "ezaudio", name, "--help"])
            least[name] = min(spent, least.get(name, spent))
        spent = seconds(["-c", "import ezaudio"])
        least["import ezaudio"] = min(spent, least.get("import ezaudio", spent))
    print("| started | seconds | over `train --help` |\n|---|---|---|")
    for name, spent in least.items():
        title = name if " " in name else f"{name} --help"
        print(f"| `{title}` | {spent:.2f} | {spent / least[BASE]:.2f} |")


if __name__ == "__main__":
    main()
