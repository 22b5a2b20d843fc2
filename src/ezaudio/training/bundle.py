"""Put trained parts together as a model folder that can be shipped.

The folder holds half-precision weights, `model.json`, the list of clips with hashes, and the
attributions that the clips' licences ask for.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ezaudio.checkpoints import load_module, save_module
from ezaudio.data.clips import ClipRow
from ezaudio.data.manifest import read_manifest
from ezaudio.files import atomic_write, make_folder, sha256_file

LIST_COLUMNS = (
    "file",
    "split",
    "label",
    "caption",
    "license",
    "author",
    "attribution_url",
    "source_repo",
    "source_path",
    "start",
    "end",
    "sha256",
)


def half_precision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices in float16; vectors and statistics stay as they are."""
    return {
        name: tensor.half() if tensor.ndim >= 2 and not name.startswith("latent_") else tensor
        for name, tensor in tensors.items()
    }


def write_clip_list(rows: Sequence[ClipRow], root: Path, path: Path) -> None:
    """Write the provenance of every clip with the SHA-256 of its file, as CSV."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, LIST_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row.model_dump() | {"sha256": sha256_file(root / row.file)})


def write_attributions(rows: Sequence[ClipRow], path: Path) -> None:
    """Name every author, licence and address once, with the number of clips and the collection they
    came from.
    """
    groups: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for row in rows:
        author = row.author or f"unnamed author, published in {row.source_repo}"
        groups[author, row.license, row.attribution_url, row.source_repo] += 1
    lines = [
        "# Attributions\n",
        f"The starter model was trained on {len(rows)} recordings (split `train`). Their authors,",
        "as the publishers state them, with licence, address and the collection in which each was",
        "published. The list of clips, with segments and hashes, is `clips.csv`. The recordings",
        "were cut, resampled to 24 kHz mono, trimmed and brought to one peak level.\n",
        "| author | licence | clips | address | collection |",
        "|---|---|---|---|---|",
    ]
    for (author, licence, url, source), count in sorted(groups.items(), key=lambda item: item[0]):
        cells = (cell.replace("|", "/") for cell in (author, licence, str(count), url, source))
        lines.append("| " + " | ".join(cells) + " |")
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def normalised(tensors: Mapping[str, Tensor], latents: Path) -> dict[str, Tensor]:
    """An autoencoder's weights with the channel statistics of a latent store in place."""
    index = json.loads((latents / "index.json").read_text())
    statistics = {
        f"latent_{name}": torch.tensor(index[name])[:, None] for name in ("shift", "scale")
    }
    return {**tensors, **statistics}


def bundle(
    manifest: Path, vae: Path, latents: Path, dit: Path, settings: Path, folder: Path
) -> None:
    """Write a model folder.

    Args:
        manifest: CSV of the recordings.
        vae: Autoencoder checkpoint.
        latents: Folder of the latent store that the diffusion model was trained on.
        dit: Diffusion checkpoint.
        settings: JSON with what `model.json` says besides its files: name, licence, text encoder,
            defaults.
        folder: Where to write.
    """
    make_folder(folder)
    for source, name in ((vae, "vae.safetensors"), (dit, "dit.safetensors")):
        loaded = load_module(source)
        tensors = normalised(loaded.tensors, latents) if source == vae else loaded.tensors
        save_module(
            folder / name,
            half_precision(tensors),
            kind=loaded.kind,
            config=loaded.config,
            extra=loaded.extra,
        )
    rows = read_manifest(manifest)
    write_clip_list(rows, manifest.parent, folder / "clips.csv")
    write_attributions([row for row in rows if row.split == "train"], folder / "ATTRIBUTIONS.md")
    model = json.loads(settings.read_text()) | {"dit": "dit.safetensors", "vae": "vae.safetensors"}
    with atomic_write(folder / "model.json") as temporary:
        temporary.write_text(json.dumps(model, indent=2) + "\n")
