"""How much memory does a run take over 10 thousand, 100 thousand and 1 million clips?

Synthetic strong labels are captioned, cleaned of duplicates, exported and reported on, each size in
a process of its own, whose peak is read from the kernel.

    python benchmarks/captions_memory.py [--sizes 10000,100000,1000000] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LABELS = ("Bark", "Rain", "Siren", "Door", "Speech", "Wind", "Train", "Bell")


def write_labels(path: Path, clips: int) -> None:
    """Two or three events a clip; every thousandth line is broken."""
    with path.open("w", encoding="utf-8") as file:
        file.write("segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n")
        for number in range(clips):
            name = f"{number:011d}_{1000 * (number % 300)}"
            for event in range(2 + number % 2):
                start_s = 0.5 + 3 * event + number % 7 / 10
                label = LABELS[(number // 3 + 5 * event) % len(LABELS)]
                file.write(f"{name}\t{start_s:.3f}\t{start_s + 1:.3f}\t{label}\n")
            if number % 1000 == 999:
                file.write(f"{name}\tx\ty\tBark\n")


def run(labels: Path, folder: Path) -> None:
    """Label, drop duplicates, export, report; print seconds of each and the peak."""
    from ezaudio.captions.dedup import DedupSettings, dedup_set
    from ezaudio.captions.executors import executor_from
    from ezaudio.captions.export import ExportSettings, export_manifest
    from ezaudio.captions.report import write_report
    from ezaudio.captions.run import RunSettings, label
    from ezaudio.captions.sources import source_from

    begin = time.perf_counter()
    source = source_from("strong_labels", {})
    here = executor_from("local")
    summary = label(source, [labels], folder / "set", settings=RunSettings(), executor=here)
    labelled = time.perf_counter()
    dedup_set([folder / "set"], folder / "unique", settings=DedupSettings())
    cleaned = time.perf_counter()
    settings = ExportSettings(check_audio=False)
    export_manifest(folder / "unique", folder / "list.jsonl", settings=settings)
    exported = time.perf_counter()
    write_report(folder / "unique", folder / "report.html")
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = (labelled - begin, cleaned - labelled, exported - cleaned, end - exported)
    shown = " | ".join(f"{seconds:.0f}" for seconds in times)
    print(f"| {summary.clips:,} | {summary.bad_lines:,} | {peak:.0f} | {shown} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--one", type=int, default=0, help="measure one size in this process")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        if options.one:
            write_labels(folder / "strong.tsv", options.one)
            run(folder / "strong.tsv", folder)
            return
        print("| clips | bad lines | peak MiB | label s | duplicates s | export s | report s |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for size in options.sizes.split(","):
            command = [sys.executable, __file__, "--one", size, "--folder", str(folder)]
            subprocess.run(command, check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
