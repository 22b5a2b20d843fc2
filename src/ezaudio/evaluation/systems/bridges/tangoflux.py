"""TangoFlux: run with an environment that has the package of declare-lab/TangoFlux."""

import json
import sys


def main() -> None:
    """Make every sound of the list, in 50 steps."""
    import torch
    from scipy.io import wavfile
    from tangoflux import TangoFluxInference  # type: ignore[import-not-found,unused-ignore]

    listing, folder = sys.argv[1:3]
    model = TangoFluxInference(name="declare-lab/TangoFlux")
    with open(listing, encoding="utf-8") as file:
        for row in map(json.loads, file):
            torch.manual_seed(row["seed"])
            wave = model.generate(row["caption"], steps=50, duration=round(row["duration"]))
            wavfile.write(f"{folder}/{row['name']}.wav", 44_100, wave.T.cpu().numpy())


if __name__ == "__main__":
    main()
