"""How many records a second pass through the caption pipeline without models, and where the time
goes.

python benchmarks/captions_throughput.py [--clips 20000]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from captions_memory import write_labels

from ezaudio.captions.dedup import DedupSettings, dedup_set
from ezaudio.captions.executors import executor_from
from ezaudio.captions.export import ExportSettings, export_manifest
from ezaudio.captions.run import RunSettings, label
from ezaudio.captions.sources import source_from
from ezaudio.captions.statistics import statistics_of
from ezaudio.captions.store import CaptionSet

PARTS = {
    "reading the input": ("tables.py", "strong_labels.py", "audiocaps.py", "names.py"),
    "writing sentences": ("sentences.py", "timeline.py", "phrases.py"),
    "language, profanity, hashes of chunks": ("record.py",),
    "parquet": ("store.py", "parquet", "pyarrow"),
    "duplicates": ("dedup_index.py", "dedup.py"),
}


def write_audiocaps(path: Path, clips: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("audiocap_id,youtube_id,start_time,caption\n")
        for n in range(clips):
            file.write(f"{n},{n:011d},{n % 300},A dog barks {n % 977} times while rain falls\n")


def timed(name: str, clips: int, work: Callable[[], object]) -> None:
    begin = time.process_time()
    work()
    seconds = time.process_time() - begin
    print(f"| {name} | {seconds:.1f} | {clips / seconds:,.0f} |", flush=True)


def where(work: Callable[[], object]) -> None:
    """Print the share of each part, by the file in which the time is spent."""
    profile = cProfile.Profile()
    profile.runcall(work)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(row[2] for row in stats.values())
    shares = dict.fromkeys(PARTS, 0.0)
    for (file, _, function), row in stats.items():
        owner = next((p for p, names in PARTS.items() if any(n in file for n in names)), None)
        if owner is None and file == "~":  # built in: counted with whoever calls it most
            callers = sorted(row[4].items(), key=lambda pair: -pair[1][2])
            place = callers[0][0][0] if callers else ""
            owner = next((p for p, names in PARTS.items() if any(n in place for n in names)), None)
        if owner is not None:
            shares[owner] += row[2]
        del function
    for part, seconds in sorted(shares.items(), key=lambda pair: -pair[1]):
        print(f"| {part} | {100 * seconds / total:.0f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20_000)
    clips = parser.parse_args().clips
    folder = Path(tempfile.mkdtemp())
    here, plan = executor_from("local"), RunSettings()
    strong, given = folder / "strong.tsv", folder / "captions.csv"
    write_labels(strong, clips)
    write_audiocaps(given, clips)

    def labelled(kind: str, path: Path, out: str) -> Callable[[], object]:
        source = source_from(kind, {})
        return lambda: label(source, [path], folder / out, settings=plan, executor=here)

    try:
        print("| step | CPU seconds | records/s |\n|---|---|---|")
        timed("import of captions", clips, labelled("audiocaps", given, "a"))
        timed("strong labels to sentences", clips, labelled("strong_labels", strong, "s"))
        timed("the same again: all is done", clips, labelled("strong_labels", strong, "s"))
        unique, listed = folder / "u", folder / "l.jsonl"
        alone, bare = DedupSettings(), ExportSettings(check_audio=False)
        draw = np.random.default_rng(0)
        timed("duplicates", clips, lambda: dedup_set([folder / "s"], unique, settings=alone))
        counted = CaptionSet(unique)
        timed("report", clips, lambda: statistics_of(counted.records(), generator=draw))
        timed("manifest", clips, lambda: export_manifest(unique, listed, settings=bare))
        print("\n| strong labels, then duplicates | share of the time |\n|---|---|")
        work = labelled("strong_labels", strong, "p")
        where(lambda: (work(), dedup_set([folder / "p"], folder / "q", settings=DedupSettings())))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
