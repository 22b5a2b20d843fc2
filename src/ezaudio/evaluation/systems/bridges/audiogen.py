"""AudioGen: run with an environment that has audiocraft."""

import json
import sys


def main() -> None:
    """Make every sound of the list."""
    import torch
    from audiocraft.models import AudioGen  # type: ignore[import-not-found,unused-ignore]
    from scipy.io import wavfile

    listing, folder = sys.argv[1:3]
    model = AudioGen.get_pretrained("facebook/audiogen-medium")
    with open(listing, encoding="utf-8") as file:
        for row in map(json.loads, file):
            torch.manual_seed(row["seed"])
            model.set_generation_params(duration=row["duration"])
            wave = model.generate([row["caption"]])[0, 0].cpu().numpy()
            wavfile.write(f"{folder}/{row['name']}.wav", model.sample_rate, wave)


if __name__ == "__main__":
    main()
