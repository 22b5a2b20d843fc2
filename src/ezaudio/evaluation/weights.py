"""Published weights of extractors: where they lie, how they are fetched and checked.

A file is looked for in `EZAUDIO_WEIGHTS` (a folder), then in the cache; else it is fetched over
HTTPS, goes on where an earlier fetch stopped, and gets its name only when its hash is right.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ezaudio.errors import DownloadError
from ezaudio.evaluation.cache import default_cache
from ezaudio.files import download

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Weights:
    """A published file.

    Attributes:
        filename: as it is published.
        url: where it is fetched from.
        algorithm: of the published hash.
        digest: the hash, or its first digits where the publisher gives only those.
        licence: of the weights.
    """

    filename: str
    url: str
    algorithm: str
    digest: str
    licence: str


_ZENODO = "https://zenodo.org/records/3987831/files"
WEIGHTS: dict[str, Weights] = {
    "panns-16k": Weights(
        "Cnn14_16k_mAP=0.438.pth",
        f"{_ZENODO}/Cnn14_16k_mAP%3D0.438.pth?download=1",
        "md5",
        "362fc5ff18f1d6ad2f6d464b45893f2c",
        "CC BY 4.0",
    ),
    "panns-32k": Weights(
        "Cnn14_mAP=0.431.pth",
        f"{_ZENODO}/Cnn14_mAP%3D0.431.pth?download=1",
        "md5",
        "541141fa2ee191a88f24a3219fff024e",
        "CC BY 4.0",
    ),
    "passt": Weights(
        "passt-s-f128-p16-s10-ap.476-swa.pt",
        "https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset/"
        "passt-s-f128-p16-s10-ap.476-swa.pt",
        "sha256",
        "",
        "Apache-2.0",
    ),
    "vggish": Weights(
        "vggish-10086976.pth",
        "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
        "sha256",
        "10086976",
        "Apache-2.0",
    ),
}
"""Files by extractor.

VGGish carries the first digits of its SHA-256 in its name. No hash of PaSST's file is published:
what comes is taken, and its SHA-256 stands in every table, as that of all weights does.
"""


def fetch_weights(name: str, *, folder: Path | None = None) -> Path:
    """Give the local path of an extractor's weights, fetching them when they are not there.

    Raises:
        DownloadError: absent and not to be fetched, or what came has another hash.
    """
    wanted = WEIGHTS[name]
    own = os.environ.get("EZAUDIO_WEIGHTS")
    if own and (Path(own) / wanted.filename).is_file():
        return Path(own) / wanted.filename
    folder = folder or default_cache().parent / "weights"
    path = folder / wanted.filename
    if path.is_file():
        return path
    instead = (
        f"get {wanted.url} ({wanted.licence}) elsewhere and pass `--weights {name}=PATH`, "
        f"or put it into the folder named by EZAUDIO_WEIGHTS"
    )
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        raise DownloadError(
            f"{wanted.filename} is not on this machine, and it is offline: {instead}"
        )
    try:
        _fetch(wanted, path)
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{wanted.filename} cannot be fetched ({reason}): {instead}") from None
    return path


def _fetch(wanted: Weights, path: Path) -> None:
    def bring(file: BinaryIO, have: int) -> None:
        headers = {"Range": f"bytes={have}-"} if have else {}
        request = urllib.request.Request(wanted.url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            if answer.status != 206:  # it sends the file from its beginning
                file.seek(0)
                file.truncate()
            shutil.copyfileobj(answer, file, _BLOCK_BYTES)

    def check(part: Path) -> None:
        with part.open("rb") as file:
            digest = _digest(file, wanted.algorithm)
        if not digest.startswith(wanted.digest):
            raise DownloadError(
                f"{wanted.filename}: {wanted.algorithm} is {digest}, "
                f"expected {wanted.digest}; it was removed, try again"
            )

    download(
        path,
        path.with_name(path.name + ".incomplete"),
        lock=path.with_name(f".{path.name}.lock"),
        bring=bring,
        whole=lambda _: True,
        check=check,
    )


def _digest(file: BinaryIO, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
