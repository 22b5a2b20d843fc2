"""`python -m ezaudio.training pack|vae|latents|dit …`: the steps that make the starter model, in
that order.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ezaudio.errors import EzAudioError, InputError

USAGE = (
    "pack MANIFEST.csv FOLDER | vae RECIPE [key=value …] | latents PACKED VAE FOLDER [key=value …]"
    " | dit RECIPE [key=value …]"
    " | bundle MANIFEST.csv VAE LATENTS DIT SETTINGS.json FOLDER"
)


def main(arguments: list[str]) -> None:
    """Run one step."""
    match arguments:
        case ["pack", manifest, folder]:
            from ezaudio.data.manifest import read_manifest
            from ezaudio.data.waveforms import WaveformStore

            path = Path(manifest)
            WaveformStore.pack(read_manifest(path), path.parent, Path(folder), 24_000)
        case ["vae" | "dit", recipe, *overrides]:
            from ezaudio.training.engine import Engine
            from ezaudio.training.recipe import read_recipe
            from ezaudio.training.runner import run_recipe

            read = read_recipe(recipe, overrides)
            run_recipe(read, Engine(read.engine), resume=True)
        case ["latents", waveforms, checkpoint, folder, *overrides]:
            from ezaudio.config import load_config
            from ezaudio.training.encode import EncodeConfig, encode_clips

            config = load_config(EncodeConfig, {}, overrides)
            encode_clips(Path(waveforms), Path(checkpoint), Path(folder), config)
        case ["bundle", *paths] if len(paths) == 6:
            from ezaudio.training.bundle import bundle

            bundle(*map(Path, paths))
        case _:
            raise InputError("step", " ".join(arguments), USAGE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EzAudioError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
