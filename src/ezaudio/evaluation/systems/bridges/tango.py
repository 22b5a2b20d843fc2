"""Tango, Tango-AF and Tango 2: run in the folder of declare-lab/tango, with its environment."""

import json
import sys


def main() -> None:
    """Make every sound of the list; the length is always 10 s."""
    import torch
    from scipy.io import wavfile
    from tango import Tango  # type: ignore[import-not-found,unused-ignore]

    listing, folder, checkpoint = sys.argv[1:4]
    model = Tango(checkpoint)
    with open(listing, encoding="utf-8") as file:
        for row in map(json.loads, file):
            torch.manual_seed(row["seed"])
            wave = model.generate(row["caption"], steps=200, guidance=3)
            wavfile.write(f"{folder}/{row['name']}.wav", 16_000, wave)


if __name__ == "__main__":
    main()
