"""`python -m ezaudio.training bundle …`: trained parts become a model folder."""

from __future__ import annotations

import sys
from pathlib import Path

from ezaudio.errors import EzAudioError, InputError

USAGE = "bundle MANIFEST.csv VAE LATENTS DIT SETTINGS.json FOLDER"


def main(arguments: list[str]) -> None:
    """Run the step."""
    match arguments:
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
