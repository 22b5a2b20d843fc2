"""How long does a training step of each recipe take, in turns in one process?

    python benchmarks/step_times.py figure-2-small figure-2-small-sola-plain ... [--turns 30]

Each recipe's last stage makes a step in turn, on the same batches, so what else the machine does
falls on all of them alike. Prints medians, and each beside the first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

from ezaudio.training.loop.distributed import Engine
from ezaudio.training.recipe import DiffusionRecipe, read_recipe
from ezaudio.training.tasks.diffusion import DiffusionTask, load_material

WARM_UP = 3


def task_of(name: str, overrides: Sequence[str]) -> DiffusionTask:
    """The last stage of a recipe, with fresh weights."""
    recipe = read_recipe(name, ["each.valid.batches=0", *overrides])
    assert isinstance(recipe, DiffusionRecipe)
    stage = list(recipe.stages.values())[-1]
    engine = Engine(recipe.engine)
    material = load_material(recipe.model, recipe.text, stage, engine)
    return DiffusionTask(material, stage, engine)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    tasks = {name: task_of(name, options.set) for name in options.recipes}
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for index in range(WARM_UP + options.turns):
        for name, task in tasks.items():
            began = time.perf_counter()
            task.step(index, 1.0)
            taken[name].append(time.perf_counter() - began)
    first = taken[options.recipes[0]][WARM_UP:]
    sys.stdout.write("| recipe | step | beside the first |\n|---|---|---|\n")
    for name, times in taken.items():
        kept = times[WARM_UP:]
        ratio = statistics.median(own / other for own, other in zip(kept, first, strict=True))
        sys.stdout.write(f"| {name} | {1000 * statistics.median(kept):.0f} ms | {ratio:.2f} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
