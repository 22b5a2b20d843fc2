"""How long does one sound take, by its length and by the number of steps?

    python benchmarks/generation_times.py --model starter [--threads 1] [--dtype float32]

The model is loaded once; each cell is the median of several takes, after one that is not counted.
Prints a Markdown table of seconds and, as times that do not depend on the machine alone, how much
faster than playing it the making is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import torch

from ezaudio import EzAudio


def take_s(model: EzAudio, duration_s: float, steps: int, takes: int) -> float:
    """Median time of a take in seconds."""
    spent = []
    for seed in range(takes + 1):
        began = time.perf_counter()
        model.generate("a dog barking", duration_s=duration_s, steps=steps, seed=seed)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--takes", type=int, default=3)
    parser.add_argument("--durations", type=float, nargs="+", default=[2.0, 4.0, 10.0])
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 20, 50])
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    began = time.perf_counter()
    model = EzAudio.from_pretrained(options.model, dtype=options.dtype)
    sys.stdout.write(f"loaded in {time.perf_counter() - began:.1f} s\n\n")
    head = ["seconds of sound", *(f"{steps} steps" for steps in options.steps)]
    sys.stdout.write(f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
    for duration_s in options.durations:
        cells = [f"{duration_s:g}"]
        for steps in options.steps:
            spent = take_s(model, duration_s, steps, options.takes)
            cells.append(f"{spent:.2f} s ({duration_s / spent:.1f} x real time)")
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
