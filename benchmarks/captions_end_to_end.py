"""From recordings that nobody captioned to training steps: does the whole chain hold?

Recordings are mixed on timelines that are known; the timelines are written as strong labels, and
from
there on everything goes through the public functions: sentences, duplicates, CLAP filter, report,
manifest, and a few training steps of a model on what the manifest says. At the end the order of the
sounds in each sentence is compared with the timeline, and the loss on the mixes before and after.

    python benchmarks/captions_end_to_end.py RECORDINGS.csv OUTPUT --clap FOLDER [--mixes 60]

`RECORDINGS.csv` has the columns `file` and `label`; OUTPUT is a new folder.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch

from ezaudio.audio import peak_guard, read_audio, write_audio
from ezaudio.captions.dedup import DedupSettings, dedup_set
from ezaudio.captions.executors import executor_from
from ezaudio.captions.export import ExportSettings, export_manifest
from ezaudio.captions.filter import FilterSettings, filter_set
from ezaudio.captions.report import write_report
from ezaudio.captions.rules.phrases import phrases_of
from ezaudio.captions.run import RunSettings, label
from ezaudio.captions.scoring import ScoreSettings
from ezaudio.captions.sources import source_from
from ezaudio.captions.store import CaptionSet
from ezaudio.data.clips import ClipRow
from ezaudio.data.manifest import read_manifest
from ezaudio.diffusion import add_noise, velocity_target
from ezaudio.extractors.clap import ClapConfig
from ezaudio.pipelines.components import Components, load_components

RATE_HZ = 24_000
SECONDS = 6.0
LONGEST_S = 2.0


def mix(recordings: Path, folder: Path, mixes: int, draw: np.random.Generator) -> None:
    """Write mixes and their strong labels: two or three sounds, one after the other or together."""
    with recordings.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"]]
    (folder / "audio").mkdir(parents=True)
    lines = ["segment_id\tstart_time_seconds\tend_time_seconds\tlabel"]
    for number in range(mixes):
        total = np.zeros(round(SECONDS * RATE_HZ), np.float32)
        for index in range(int(draw.integers(2, 4))):
            row = rows[int(draw.integers(len(rows)))]
            samples = read_audio(recordings.parent / row["file"], RATE_HZ).samples
            samples = samples[: round(LONGEST_S * RATE_HZ)]
            samples = 0.5 * samples / max(1e-4, float(np.abs(samples).max()))
            start_s = float(draw.uniform(0, 1)) + 1.8 * index
            place = round(start_s * RATE_HZ)
            total[place : place + len(samples)] += samples[: len(total) - place]
            end_s = min(SECONDS, start_s + len(samples) / RATE_HZ)
            lines.append(f"mix{number:04d}\t{start_s:.3f}\t{end_s:.3f}\t{row['label']}")
        write_audio(folder / "audio" / f"mix{number:04d}.wav", peak_guard(total), RATE_HZ)
    (folder / "strong.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def in_order(folder: Path) -> tuple[int, int]:
    """Count the pairs of sounds, one over before the other begins, that a sentence has in order."""
    source = source_from("strong_labels", {})
    events = {item.clip_id: item.events for item in source.items(folder / "strong.tsv")}  # type: ignore[union-attr]
    right = pairs = 0
    for record in CaptionSet(folder / "set").records():
        text = record.caption.lower()
        turned = " after " in text and "after that" not in text and "after which" not in text
        found = [(event, place(event.label, text)) for event in events[record.clip_id]]
        for a, at in found:
            for b, other in found:
                if a.end <= b.start and a.label != b.label and at >= 0 and other >= 0:
                    pairs += 1
                    right += (at < other) != (turned and not text.startswith("after"))
    return right, pairs


def place(sound: str, text: str) -> int:
    """Where a sound is first named; -1 when it is not."""
    places = [text.find(p.nominal.lower()) for p in phrases_of(sound)]
    return min((at for at in places if at >= 0), default=-1)


def loss_of(parts: Components, rows: list[ClipRow], folder: Path, seed: int) -> torch.Tensor:
    """Velocity error of a model on the clips of a manifest, with their captions as prompts."""
    generator = torch.Generator().manual_seed(seed)
    waves = [read_audio(folder / row.file, parts.vae.sample_rate).samples for row in rows]
    with torch.no_grad():
        x0 = parts.vae.encode(torch.from_numpy(np.stack(waves))[:, None]).mode  # (B, C, T)
        text = parts.text_encoder([row.caption for row in rows])
    steps = torch.randint(parts.schedule.num_steps, (len(rows),), generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    x_t = add_noise(x0, noise, steps, parts.schedule)
    velocity = parts.dit(x_t, steps, parts.dit.prepare(text))
    target = velocity_target(x0, noise, steps, parts.schedule)
    return torch.nn.functional.mse_loss(velocity, target)


def train(model: str, manifest: Path, steps: int) -> tuple[float, float]:
    """Take a few steps on the clips; loss before and after, on the same noise."""
    parts = load_components(model, device="cpu", dtype="float32")
    rows = [row for row in read_manifest(manifest) if row.duration >= SECONDS - 0.01][:16]
    dit = parts.dit.requires_grad_(True)
    optimizer = torch.optim.AdamW(dit.parameters(), lr=1e-4)

    def measured() -> float:
        with torch.no_grad():
            losses = [loss_of(parts, rows, manifest.parent, seed) for seed in range(4)]
        return float(torch.stack(losses).mean())

    before = measured()
    for step in range(steps):
        optimizer.zero_grad()
        batch = [rows[(4 * step + k) % len(rows)] for k in range(4)]
        loss_of(parts, batch, manifest.parent, 1000 + step).backward()
        optimizer.step()
    return before, measured()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--clap", type=str, required=True, help="folder with CLAP's files")
    parser.add_argument("--threshold", type=float, default=0.40)
    parser.add_argument("--mixes", type=int, default=60)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--model", default="starter")
    options = parser.parse_args(arguments)
    folder, here = options.output, executor_from("local")
    mix(options.recordings, folder, options.mixes, np.random.default_rng(0))
    source = source_from("strong_labels", {"audio_pattern": "{clip}.wav"})
    root = str((folder / "audio").absolute())
    plan = RunSettings(audio_root=root)
    labelled = label(source, [folder / "strong.tsv"], folder / "set", settings=plan, executor=here)
    right, pairs = in_order(folder)
    alone = DedupSettings(sounds="near", audio_root=root)
    unique = dedup_set([folder / "set"], folder / "unique", settings=alone)
    score = ScoreSettings(clap=ClapConfig(path=options.clap), audio_root=root, batch_size=8)
    chosen = FilterSettings(threshold=options.threshold, score=score)
    kept = filter_set(folder / "unique", folder / "filtered", settings=chosen, executor=here)
    write_report(folder / "filtered", folder / "report.html", pairs=10)
    listed = folder / "manifest.csv"
    export_manifest(folder / "filtered", listed, settings=ExportSettings())
    print(f"captions {labelled.captions}, without duplicates {unique.kept}, kept {kept.kept}")
    print(f"order: {right} of {pairs} pairs of sounds as in the timeline")
    before, after = train(options.model, listed, options.steps)
    print(f"loss on the mixes: {before:.4f} before, {after:.4f} after {options.steps} steps")


if __name__ == "__main__":
    main()
