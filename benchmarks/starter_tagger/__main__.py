"""Train the shipped tagger and measure it on recordings that it has not heard.

    python -m benchmarks.starter_tagger data/packed OUT/tagger.safetensors

The first argument is a folder made by `ezaudio data pack`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path

from benchmarks.starter_tagger.examples import (
    label_sentences,
    read_examples,
    read_kinds,
)
from benchmarks.starter_tagger.fit import Fit, fill_pool, measure, train

from ezaudio.data.waveforms import WaveformStore
from ezaudio.extractors.starter_tagger import StarterTaggerConfig
from ezaudio.text import MiniLMConfig

log = logging.getLogger("starter-tagger")


def main(arguments: list[str] | None = None) -> int:
    """Train, measure, save."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Train the shipped tagger.")
    parser.add_argument("waveforms", type=Path, help="packed recordings")
    parser.add_argument("output", type=Path, help="file to write")
    parser.add_argument("--steps", type=int, default=Fit.steps)
    parser.add_argument("--draws", type=int, default=Fit.draws)
    parser.add_argument("--seed", type=int, default=Fit.seed)
    options = parser.parse_args(arguments)
    store, kinds = WaveformStore(options.waveforms), read_kinds()
    labels, vectors = label_sentences(store.rows, MiniLMConfig().build())
    known = read_examples(store, "train", kinds, labels)
    unknown = read_examples(store, "valid", kinds, labels)
    log.info("%d recordings, %d labels, %d kinds", len(known.rows), len(labels), len(kinds))
    started = time.process_time()
    config = StarterTaggerConfig(labels=tuple(kinds), text_width=vectors.shape[2])
    fit = Fit(steps=options.steps, draws=options.draws, seed=options.seed)
    tagger = train(config, known, vectors, fill_pool(known, fit), fit)
    facts: dict[str, object] = {
        "train_clips": len(known.rows),
        "cpu_s": round(time.process_time() - started),
        "valid": measure(tagger, unknown, vectors),
    }
    log.info("%s", json.dumps(facts))
    tagger.save(options.output, facts=facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
