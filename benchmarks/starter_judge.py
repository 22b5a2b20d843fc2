"""Does the starter model make the sound that a prompt names? A trained listener says.

    python benchmarks/starter_judge.py train --waveforms PACKED --judge FILE --report OUT.json
    python benchmarks/starter_judge.py check --waveforms PACKED --judge FILE --report OUT.json
    python benchmarks/starter_judge.py judge --model starter --judge FILE --report OUT.json
    python benchmarks/starter_judge.py events --model starter --waveforms PACKED --report OUT.json

`PACKED` is a folder made by `ezaudio data pack MANIFEST.csv -o PACKED`. `train` measures
the judge on the `valid` recordings and by cross-validation over the training recordings, `check` on
recordings after Opus or an autoencoder, `judge` listens to generated clips, and `events` to clips
of two events, beside recordings joined end to end.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch
from judge import clips, events, report, training
from judge.kinds import KINDS_FILE, read_kinds
from judge.network import load_judge

from ezaudio.data.waveforms import WaveformStore
from ezaudio.errors import EzAudioError
from ezaudio.files import write_bytes

JUDGE_FILE = Path(__file__).with_name("judge.safetensors")
log = logging.getLogger("judge")


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train, save, and measure on recordings that were not trained on."""
    kinds = read_kinds(options.kinds)
    labels = [kind.label for kind in kinds]
    store = WaveformStore(options.waveforms)
    examples = training.read_examples(store, kinds, "train")
    valid = training.read_examples(store, kinds, "valid")
    started = time.process_time()
    fit = training.Fit(shape_steps=options.shape_steps, seed=options.seed)
    judge = training.train_judge(examples, labels, fit)
    judge.facts = {
        "train_clips": len(examples.mels),
        "cpu_s": round(time.process_time() - started, 1),
        "real_distance_db": report.real_distances(examples, labels),
        "valid": report.scores(training.hear_examples(judge, valid), valid.classes, labels),
    }
    judge.save(options.judge)
    log.info("valid: %s", report.headline(judge.facts["valid"]))
    if options.folds:
        judge.facts["cross_validation"] = cross_validated(examples, labels, fit, options.folds)
        judge.save(options.judge)
    return judge.facts


def cross_validated(
    examples: training.Examples, labels: list[str], fit: training.Fit, folds: int
) -> dict[str, Any]:
    """Every training clip heard by a judge that heard nothing of its recording.

    Each of these judges is one statistics listener: a lower bound for the whole judge.
    """
    light = training.Fit(
        shape_steps=0, pool_draws=fit.pool_draws // 2, statistics_listeners=1, seed=fit.seed
    )
    fold_of = training.recording_folds(examples.rows, examples.classes, folds)
    heard = torch.zeros(len(fold_of), len(labels))
    for fold in range(folds):
        inside = [i for i, f in enumerate(fold_of) if f != fold]
        outside = [i for i, f in enumerate(fold_of) if f == fold]
        judge = training.train_judge(examples.chosen(inside), labels, light)
        heard[outside] = training.hear_examples(judge, examples.chosen(outside))
        log.info("fold %d of %d done", fold + 1, folds)
    result = report.scores(heard, examples.classes, labels)
    log.info("cross-validation: %s", report.headline(result))
    return {"folds": folds, "listeners": ["statistics"], **result}


def check(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the judge on degraded `valid` recordings."""
    judge, kinds = load_judge(options.judge), read_kinds(options.kinds)
    store = WaveformStore(options.waveforms)
    sounds, classes = training.read_sounds(store, kinds, "valid", training.MEASURED_S)
    ways: dict[str, Any] = {"as recorded": lambda sound: sound}
    rates: dict[str, list[float]] = {}
    for kbps in (12.0, 6.0):
        name = f"Ogg Opus {kbps:g} kbit/s"
        rates[name] = []
        ways[name] = clips.opus_way(kbps, rates[name])
    if options.autoencoder:
        ways["autoencoder"] = clips.Reconstruction(options.autoencoder)
    result = {}
    for name, way in ways.items():
        waves = torch.stack([torch.from_numpy(way(sound)) for sound in sounds])
        result[name] = report.scores(judge.probabilities(waves), classes, judge.labels)
        if rates.get(name):
            result[name]["kbps"] = round(sum(rates[name]) / len(rates[name]), 1)
        log.info("%s: %s", name, report.headline(result[name]))
    return result


def judge_clips(options: argparse.Namespace) -> dict[str, Any]:
    """Listen to generated clips and report on their kinds and their faults."""
    judge, kinds = load_judge(options.judge), read_kinds(options.kinds)
    if options.folder:
        takes = clips.from_folder(options.folder, kinds)
    else:
        settings = {key: json.loads(value) for key, value in options.set}
        takes = clips.generated(
            options.model,
            kinds,
            clips.Asked(options.takes, options.duration, options.seed, settings),
            options.wording,
        )
    copies = None
    if options.waveforms:
        store = WaveformStore(options.waveforms)
        copies = report.Copies(
            training.read_examples(store, kinds, "train"),
            training.read_examples(store, kinds, "valid"),
            options.duration,
        )
    result = report.judged(judge, takes, copies)
    for name in ("top1", "top3", "clips", "silent", "clipped"):
        log.info("%s: %s", name, result[name])
    return result


def two_events(options: argparse.Namespace) -> dict[str, Any]:
    """Ask for two events in an order, or at once, and listen; recordings are the yardstick.

    Only kinds of which there are `valid` recordings are asked for.
    """
    judge, kinds = load_judge(options.judge), read_kinds(options.kinds)
    store = WaveformStore(options.waveforms)
    sounds, classes = training.read_sounds(store, kinds, "valid", options.duration / 2)
    pairs = events.pairs_of([kinds[k] for k in sorted(set(classes))], options.pairs)
    request = clips.Asked(
        options.takes,
        options.duration,
        options.seed,
        {key: json.loads(value) for key, value in options.set},
    )
    how, wordings = (
        (events.mixed, events.AT_ONCE) if options.at_once else (events.joined, events.WORDINGS)
    )
    recordings = events.put_together(sounds, classes, judge.labels, pairs, options.takes, how=how)
    made = clips.generated_pairs(options.model, pairs, request, wordings)
    result = {
        "recordings": events.order_report(judge, recordings),
        "generated": events.order_report(judge, made),
    }
    for name, values in result.items():
        log.info("%s: %s", name, values)
    return result


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--judge", type=Path, default=JUDGE_FILE, help="the judge's file")
    shared.add_argument("--report", type=Path, help="JSON file to write")
    shared.add_argument("--kinds", type=Path, default=KINDS_FILE, help="list of kinds (CSV)")
    one = commands.add_parser("train", parents=[shared])
    one.add_argument("--waveforms", type=Path, required=True)
    one.add_argument("--folds", type=int, default=5, help="0: no cross-validation")
    one.add_argument("--shape-steps", type=int, default=training.Fit.shape_steps)
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=train)
    two = commands.add_parser("check", parents=[shared])
    two.add_argument("--waveforms", type=Path, required=True)
    two.add_argument("--autoencoder", type=Path, help="also listen through this autoencoder")
    two.set_defaults(run=check)
    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument("--takes", type=int, default=4)
    asked.add_argument("--duration", type=float, default=4.0)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument(
        "--set",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "JSON"),
        help="a further argument of generate, such as --set guidance_scale 4",
    )
    three = commands.add_parser("judge", parents=[shared, asked])
    source = three.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="name or path of a model")
    source.add_argument("--folder", type=Path, help="folder of clips <label-slug>_<k>.wav")
    three.add_argument("--waveforms", type=Path, help="also look for copies of these recordings")
    three.add_argument("--wording", default="{}", help="what is asked, {} being the kind's prompt")
    three.set_defaults(run=judge_clips)
    four = commands.add_parser("events", parents=[shared, asked])
    four.add_argument("--model", required=True, help="name or path of a model")
    four.add_argument("--waveforms", type=Path, required=True)
    four.add_argument("--pairs", type=int, default=60)
    four.add_argument("--at-once", action="store_true", help='ask for "A and B" instead')
    four.set_defaults(run=two_events, takes=2, duration=6.0)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = parser().parse_args(arguments)
    try:
        result = options.run(options)
        if options.report:
            write_bytes(options.report, (json.dumps(result, indent=1) + "\n").encode())
    except (EzAudioError, OSError, ValueError) as error:
        log.error("error: %s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
