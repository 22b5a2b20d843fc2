#!/usr/bin/env python3
"""What a listener that was trained elsewhere hears: YAMNet, 521 classes of AudioSet.

The listener knows nothing of this project's models, data and losses. It measures and compares; it
is no loss, ranks no takes, and is not part of the project: fetch `yamnet.tflite` and
`yamnet_class_map.csv` yourself, and `pip install ai-edge-litert`.

    listen="python benchmarks/outside_listener.py"
    files="CLIPS.csv --yamnet yamnet.tflite --classes yamnet_class_map.csv"
    $listen recordings $files
    $listen reconstruct $files --model starter
    $listen generate $files --model starter --takes 2
    $listen events $files --model starter

CLIPS.csv is a list of recordings with `file`, `label` and `split`; `listener/kinds.csv` says which
labels are which of 38 kinds, what asks for a kind, and by which classes it is heard. A kind is
heard `first` when the strongest of its classes beats those of all other kinds, among `three`
likewise, and `among5` when one of its classes is among the five strongest of all 521; `score` is
the strength of its strongest class. Means are over kinds; intervals are 95 % bootstraps over clips
within kinds.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ezaudio.audio_texture import repetition, texture

KINDS = Path(__file__).parent / "listener" / "kinds.csv"
RATE, WINDOW, HOP = 16_000, 15_600, 7_800
NOISY = ("rain falling", "ocean waves", "wind blowing", "fire crackling", "helicopter")
"""Kinds whose texture is compared."""
NAMES = ("first", "three", "among5", "score")


@dataclass(frozen=True)
class Kind:
    """A kind of sound: how it is asked for, and the classes and labels that are it."""

    name: str
    prompts: tuple[str, str]
    labels: frozenset[str]
    classes: tuple[str, ...]


def read_kinds(path: Path = KINDS) -> list[Kind]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Kind(
                row["kind"],
                (row["prompt"], row["paraphrase"]),
                frozenset(row["labels"].split("; ")),
                tuple(row["classes"].split("; ")),
            )
            for row in csv.DictReader(file)
        ]


class Yamnet:
    """Scores (521,) and embedding (1024,) of a sound, averaged over windows that are not silent."""

    def __init__(self, weights: Path, class_map: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._net = Interpreter(str(weights), num_threads=1, experimental_preserve_all_tensors=True)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._output = self._net.get_output_details()[0]["index"]
        self._embedding = next(
            tensor["index"]
            for tensor in self._net.get_tensor_details()
            if tensor["name"].endswith("layer28/reduce_mean")
        )
        with class_map.open(newline="", encoding="utf-8") as file:
            names = [row["display_name"] for row in csv.DictReader(file)]
        self.names = names
        self.index = {name: place for place, name in enumerate(names)}

    def __call__(self, wave: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
        scores, embeddings = zip(*self.windows(wave, rate), strict=True)
        return np.mean(scores, 0), np.mean(embeddings, 0)

    def windows(self, wave: np.ndarray, rate: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each window that is within 20 dB of the loudest one, in order."""
        wave = soxr.resample(wave, rate, RATE) if rate != RATE else wave
        peak = np.abs(wave).max(initial=0)
        wave = wave / peak * 0.7 if peak > 1e-6 else wave
        wave = np.pad(wave, (0, max(0, WINDOW - len(wave)))).astype(np.float32)
        windows = [wave[s : s + WINDOW] for s in range(0, len(wave) - WINDOW + 1, HOP)]
        levels = [np.sqrt(np.square(window).mean()) for window in windows]
        return [
            self._window(w) for w, x in zip(windows, levels, strict=True) if x >= 0.1 * max(levels)
        ]

    def _window(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._net.set_tensor(self._input, window)
        self._net.invoke()
        embedding = self._net.get_tensor(self._embedding).reshape(-1).copy()
        return self._net.get_tensor(self._output)[0].copy(), embedding


@dataclass
class Heard:
    """What was heard of one clip."""

    kind: str
    values: tuple[float, float, float, float]
    embedding: np.ndarray
    strongest: str
    texture: float
    repetition: float
    silent: bool
    clipped: bool


class Judgement:
    """Collects clips and says what was heard in all of them."""

    def __init__(self, listener: Yamnet, kinds: list[Kind]) -> None:
        self.listener, self.kinds, self.clips = listener, kinds, []
        self._places = {k.name: [listener.index[c] for c in k.classes] for k in kinds}

    def add(self, kind: str, wave: np.ndarray, rate: int) -> None:
        scores, embedding = self.listener(wave, rate)
        strengths = {name: scores[places].max() for name, places in self._places.items()}
        order = sorted(strengths, key=strengths.get, reverse=True)
        five = set(np.argsort(-scores)[:5])
        values = (
            float(order[0] == kind),
            float(kind in order[:3]),
            float(any(place in five for place in self._places[kind])),
            float(strengths[kind]),
        )
        loud = np.abs(wave) >= 0.999
        self.clips.append(
            Heard(
                kind,
                values,
                embedding,
                self.listener.names[int(scores.argmax())],
                texture(wave, rate),
                repetition(wave, rate),
                bool(np.sqrt(np.square(wave).mean()) < 1e-3),
                bool((loud[2:] & loud[1:-1] & loud[:-2]).any()),
            )
        )

    def by_kind(self) -> dict[str, np.ndarray]:
        rows = defaultdict(list)
        for clip in self.clips:
            rows[clip.kind].append(clip.values)
        return {kind: np.array(values) for kind, values in rows.items()}

    def report(self, reference: np.ndarray | None = None) -> dict:
        rows, draws = self.by_kind(), np.random.default_rng(0)
        means = np.mean([values.mean(0) for values in rows.values()], 0)
        resampled = [
            np.mean([v[draws.integers(len(v), size=len(v))].mean(0) for v in rows.values()], 0)
            for _ in range(1000)
        ]
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        embeddings = np.stack([clip.embedding for clip in self.clips])
        names = [clip.strongest for clip in self.clips]
        noisy = {
            kind: float(np.nanmean([c.texture for c in self.clips if c.kind == kind]))
            for kind in NOISY
            if kind in rows
        }
        report = {
            "clips": len(self.clips),
            "kinds": len(rows),
            **{n: round(float(m), 4) for n, m in zip(NAMES, means, strict=True)},
            "intervals": {
                n: [round(float(a), 3), round(float(b), 3)]
                for n, a, b in zip(NAMES, low, high, strict=True)
            },
            "texture": noisy,
            "texture_mean": float(np.mean(list(noisy.values()))) if noisy else None,
            "repeating": float(np.mean([c.repetition > 0.5 for c in self.clips])),
            "repeating_noisy": float(
                np.mean([c.repetition > 0.5 for c in self.clips if c.kind in NOISY] or [0])
            ),
            "silent": float(np.mean([c.silent for c in self.clips])),
            "clipped": float(np.mean([c.clipped for c in self.clips])),
            "strongest": sorted(((names.count(name), name) for name in set(names)), reverse=True)[
                :8
            ],
            "by_kind": {
                kind: {
                    "clips": len(v),
                    **dict(zip(NAMES, v.mean(0).round(3).tolist(), strict=True)),
                }
                for kind, v in sorted(rows.items())
            },
        }
        if reference is not None:
            report["frechet_thousands"] = round(frechet(embeddings, reference) / 1000, 2)
        return report

    def order(self, first: str, second: str, wave: np.ndarray, rate: int) -> tuple[bool, bool]:
        """Whether both kinds are heard in some window each, and the first before the second.

        A kind is heard where it is among the first three of all kinds; its time is the mean of the
        windows, weighted by its strength.
        """
        scores = np.stack([scores for scores, _ in self.listener.windows(wave, rate)])
        strengths = np.stack([scores[:, p].max(1) for p in self._places.values()], 1)
        rank = (-strengths).argsort(1).argsort(1)  # (windows, kinds)
        names, times = list(self._places), np.arange(len(scores))
        a, b = names.index(first), names.index(second)
        both = bool((rank[:, a] < 3).any() and (rank[:, b] < 3).any())
        at = [(times * strengths[:, k]).sum() / max(strengths[:, k].sum(), 1e-9) for k in (a, b)]
        return both, bool(at[0] < at[1])


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of embeddings (N, 1024), exact also where N < 1024."""
    mean = np.square(a.mean(0) - b.mean(0)).sum()
    x, y = ((e - e.mean(0)) / np.sqrt(len(e) - 1) for e in (a, b))
    return float(mean + (x**2).sum() + (y**2).sum() - 2 * np.linalg.norm(x @ y.T, "nuc"))


def recordings(clips: Path, kinds: list[Kind], split: str, most: int) -> list[tuple[str, Path]]:
    """(kind, file) of a split, at most `most` of a kind, spread over its list."""
    of_label = {label: kind.name for kind in kinds for label in kind.labels}
    found = defaultdict(list)
    with clips.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == split and row["label"] in of_label:
                found[of_label[row["label"]]].append(clips.parent / row["file"])
    return [
        (kind, files[place])
        for kind, files in found.items()
        for place in np.unique(
            np.linspace(0, len(files) - 1, min(most, len(files))).round()
        ).astype(int)
    ]


def spread(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, evenly."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(most, count))})


def read(path: Path) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(1), rate


def hear_recordings(judgement: Judgement, args: argparse.Namespace) -> None:
    for kind, path in recordings(args.clips, judgement.kinds, args.split, args.most):
        judgement.add(kind, *read(path))


def hear_reconstructions(judgement: Judgement, args: argparse.Namespace) -> None:
    import torch

    from ezaudio.checkpoints import load_module
    from ezaudio.config import load_config
    from ezaudio.pipelines.reconstruct import load_autoencoder, reconstruct
    from ezaudio.vae import VAE_FAMILIES

    torch.set_num_threads(1)
    if args.untrained:
        torch.manual_seed(0)
        vae = load_config(VAE_FAMILIES["spectral"], json.loads(args.untrained)).build().eval()
        torch.nn.init.constant_(vae.to_tone.bias, -20.0)
    elif args.vae:
        loaded = load_module(args.vae, kind="vae")
        vae = load_config(VAE_FAMILIES[loaded.config["kind"]], loaded.config).build().eval()
        vae.load_state_dict(loaded.tensors)
    else:
        vae, _ = load_autoencoder(args.model)
    for number, (kind, path) in enumerate(
        recordings(args.clips, judgement.kinds, args.split, args.most)
    ):
        samples = reconstruct(vae, path).sound.clip.samples
        judgement.add(kind, samples, vae.sample_rate)
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            name = f"{kind.replace(' ', '-')}_{number}.wav"
            soundfile.write(args.keep / name, samples, vae.sample_rate)


def hear_takes(judgement: Judgement, args: argparse.Namespace) -> None:
    import torch

    from ezaudio import EzAudio

    torch.set_num_threads(args.threads)
    model = EzAudio.from_pretrained(args.model)
    settings = {} if args.guidance_scale is None else {"guidance_scale": args.guidance_scale}
    kinds = [k for k in judgement.kinds if not args.kinds or k.name in args.kinds.split(",")]
    for wording in range(args.wordings):
        made = model.generate(
            [kind.prompts[wording] for kind in kinds],
            duration_s=args.duration,
            seed=args.seed,
            num=args.takes,
            batch_size=8,
            **settings,
        )
        for place, sound in enumerate(made):
            kind = kinds[place // args.takes].name
            samples = np.asarray(sound.clip.samples, np.float32)
            judgement.add(kind, samples, sound.clip.sample_rate)
            if args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                name = f"{kind.replace(' ', '-')}_{wording}_{place % args.takes}.wav"
                soundfile.write(args.keep / name, samples, sound.clip.sample_rate)


def hear_folder(judgement: Judgement, args: argparse.Namespace) -> None:
    names = {kind.name.replace(" ", "-"): kind.name for kind in judgement.kinds}
    for path in sorted(args.folder.glob("*.wav")):
        judgement.add(names[path.stem.split("_")[0]], *read(path))


EVENT_KINDS = (
    "dog barking", "rooster crowing", "baby crying", "clock ticking", "rain falling", "helicopter",
    "chainsaw", "explosion", "bell ringing", "ocean waves", "person sneezing", "fire crackling",
)  # fmt: skip
"""Kinds of which the listener knows recordings by a second or two."""
SEQUENCES = ("{a}, then {b}", "{a} followed by {b}", "{b} after {a}", "first {a}, then {b}")


def joined(files: list[Path], seconds: float, rate: int, number: int) -> np.ndarray:
    """A recording, repeated or cut to a length, as loud as others."""
    wave, own = read(files[number % len(files)])
    wave = soxr.resample(wave, own, rate) if own != rate else wave
    wave = np.resize(wave, round(seconds * rate))
    return (wave / max(np.abs(wave).max(), 1e-6) * 0.7).astype(np.float32)


def hear_events(args: argparse.Namespace, kinds: list[Kind], listener: Yamnet) -> dict:
    """Two events in order: generated, and recordings joined end to end."""
    import torch

    from ezaudio import EzAudio

    torch.set_num_threads(args.threads)
    model, judgement = EzAudio.from_pretrained(args.model), Judgement(listener, kinds)
    prompts = {kind.name: kind.prompts[0] for kind in kinds}
    draws = np.random.default_rng(args.seed)
    every = [(a, b) for a in EVENT_KINDS for b in EVENT_KINDS if a != b]
    pairs = [every[k] for k in draws.permutation(len(every))[: args.pairs]]
    files = defaultdict(list)
    for kind, path in recordings(args.clips, kinds, args.split, args.most):
        files[kind].append(path)
    texts = [
        SEQUENCES[k % len(SEQUENCES)].format(a=prompts[a], b=prompts[b])
        for k, (a, b) in enumerate(pairs)
    ]
    made = model.generate(texts, duration_s=6.0, seed=args.seed, batch_size=8)
    found = {"generated": [], "joined recordings": []}
    for k, ((a, b), sound) in enumerate(zip(pairs, made, strict=True)):
        wave, rate = np.asarray(sound.clip.samples, np.float32), sound.clip.sample_rate
        found["generated"].append(judgement.order(a, b, wave, rate))
        real = np.concatenate([joined(files[kind], 3.0, rate, k) for kind in (a, b)])
        found["joined recordings"].append(judgement.order(a, b, real, rate))
    return {
        name: {
            "clips": len(rows),
            "both_heard": float(np.mean([both for both, _ in rows])),
            "both_in_order": float(np.mean([both and order for both, order in rows])),
            "in_order_given_both": float(np.mean([o for both, o in rows if both] or [0])),
        }
        for name, rows in found.items()
    }


COMMANDS = {
    "recordings": hear_recordings,
    "reconstruct": hear_reconstructions,
    "generate": hear_takes,
    "folder": hear_folder,
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*COMMANDS, "events"])
    parser.add_argument("clips", type=Path, help="list of recordings: file, label, split")
    parser.add_argument("--yamnet", type=Path, required=True)
    parser.add_argument("--classes", type=Path, required=True, help="yamnet_class_map.csv")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--most", type=int, default=1000, help="clips of a kind at most")
    parser.add_argument("--reference", default="valid", help="split for the Fréchet distance")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--vae", type=Path, help="an autoencoder's file, in place of --model")
    parser.add_argument(
        "--untrained", help="settings (JSON) of a noise filter, in place of --model"
    )
    parser.add_argument("--takes", type=int, default=2)
    parser.add_argument("--wordings", type=int, default=2, choices=(1, 2))
    parser.add_argument("--duration", type=float, default=4.0)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--pairs", type=int, default=60, help="with `events`")
    parser.add_argument("--kinds", help="some kinds, with commas between them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="with `folder`: KIND_….wav files")
    parser.add_argument("--keep", type=Path, help="folder for the sounds that were heard")
    parser.add_argument("--report", type=Path, help="JSON file")
    return parser


def main() -> None:
    args = arguments().parse_args()
    kinds, listener = read_kinds(), Yamnet(args.yamnet, args.classes)
    if args.what == "events":
        report = hear_events(args, kinds, listener)
        if args.report:
            args.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(report)
        return
    judgement = Judgement(listener, kinds)
    COMMANDS[args.what](judgement, args)
    real = [
        listener(*read(path))[1] for _, path in recordings(args.clips, kinds, args.reference, 15)
    ]
    report = judgement.report(np.stack(real))
    report["frechet_halves_thousands"] = round(
        frechet(np.stack(real[::2]), np.stack(real[1::2])) / 1000, 2
    )
    if args.report:
        args.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for kind, row in report["by_kind"].items():
        print(f"{kind:28s}", *(f"{name} {value:.2f}" for name, value in row.items()))
    print({k: v for k, v in report.items() if k != "by_kind"}, file=sys.stdout)


if __name__ == "__main__":
    main()
