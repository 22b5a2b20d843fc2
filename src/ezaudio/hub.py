"""Published files from the Hugging Face hub: pinned, resumed, checked, and shared with its cache.

A file is looked for in the hub's own cache first, so that what another program fetched is used,
and what is fetched here serves others. A revision is a commit, whose files cannot change. What
arrives is compared with the hash that the hub holds for that commit (SHA-256 of a large file, git's
SHA-1 of a small one) before it gets its name, and a cached file is compared with the hash in its
name once. An interrupted download goes on where it stopped, also in a later process: the hub's
client itself would start again from nothing, so that only its single steps are used.

The pinned commits were read from public pages and repositories that name them. No file behind them
was fetched when they were written here, so their hashes are not repeated in this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ezaudio.errors import DownloadError, EzAudioError, InputError
from ezaudio.files import download, write_bytes

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a hub repository at one commit.

    Attributes:
        repo_id: owner and name of the repository.
        filename: path inside the repository.
        revision: 40 hexadecimal digits of a commit.
        size_bytes: about how much is fetched; 0 where it is little.
    """

    repo_id: str
    filename: str
    revision: str
    size_bytes: int = 0


_EZAUDIO = ("OpenSound/EzAudio", "a8689502a403f521392ecbc1b37915f36429a5d6")
_T5_LARGE = ("google/flan-t5-large", "0613663d0d48ea86ba8cb3d7a44f0f65dc596a2a")
_T5_XL = ("google/flan-t5-xl", "7d6315df2c2fb742f0f5b556879d730926ca9001")


def _files(repo: tuple[str, str], **sizes: int) -> tuple[RemoteFile, ...]:
    repo_id, revision = repo
    return tuple(RemoteFile(repo_id, name, revision, size) for name, size in sizes.items())


OFFICIAL_FILES: dict[str, RemoteFile] = {
    name: RemoteFile(_EZAUDIO[0], filename, _EZAUDIO[1], size_bytes)
    for name, filename, size_bytes in (
        ("l", "ckpts/s3/ezaudio_s3_l.pt", 2_390_000_000),
        ("xl", "ckpts/s3/ezaudio_s3_xl.pt", 3_500_000_000),
        ("vae", "ckpts/vae/1m.pt", 0),
        ("controlnet-energy-l", "ckpts/controlnet/s3_l_energy.pt", 0),
    )
}
"""The authors' checkpoints, by the name that this project gives them."""

_T5_SMALL_FILES = {"config.json": 0, "tokenizer.json": 0}
TEXT_ENCODER_FILES: dict[str, tuple[RemoteFile, ...]] = {
    "google/flan-t5-large": _files(
        _T5_LARGE, **_T5_SMALL_FILES, **{"model.safetensors": 3_130_000_000}
    ),
    "google/flan-t5-xl": _files(
        _T5_XL,
        **_T5_SMALL_FILES,
        **{
            "model.safetensors.index.json": 0,
            "model-00001-of-00002.safetensors": 9_450_000_000,
            "model-00002-of-00002.safetensors": 1_950_000_000,
        },
    ),
}
"""The files of each text encoder that can be fetched."""


def fetch_official(name: str, *, cache_dir: str | Path | None = None) -> Path:
    """Give the local path of one of `OFFICIAL_FILES`, fetching it when it is not there.

    Raises:
        InputError: unknown name.
        DownloadError: as `fetch`.
    """
    if name not in OFFICIAL_FILES:
        raise InputError("model", name, f"one of {', '.join(OFFICIAL_FILES)}")
    file = OFFICIAL_FILES[name]
    return fetch(file.repo_id, file.filename, file.revision, cache_dir=cache_dir)


def fetch_text_encoder(name: str, *, cache_dir: str | Path | None = None) -> Path:
    """Give the local folder of a text encoder, fetching what is not there.

    Raises:
        InputError: unknown name.
        DownloadError: as `fetch`.
    """
    if name not in TEXT_ENCODER_FILES:
        allowed = f"one of {', '.join(TEXT_ENCODER_FILES)}, or a `path` to its files"
        raise InputError("text.name", name, allowed)
    paths = [
        fetch(
            file.repo_id,
            file.filename,
            file.revision,
            cache_dir=cache_dir,
            instead="set the text encoder's `path` to a folder with its files",
        )
        for file in TEXT_ENCODER_FILES[name]
    ]
    return paths[0].parent


def find_cached(
    repo_id: str, filename: str, revision: str, *, cache_dir: str | Path | None = None
) -> Path | None:
    """Give the local path of a file that is in the hub's cache already, whole; else None.

    A file whose content does not fit the hash in its name is removed. A file that was put into the
    cache by hand has no such name, and is taken as it is.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo_id, filename, cache_dir=cache_dir, revision=revision)
    if not isinstance(found, str):
        return None
    path, blob = Path(found), Path(os.path.realpath(found))
    if blob.parent.name != "blobs" or not _is_hash(blob.name) or _was_verified(blob):
        return path
    if _hash(blob, blob.name) == blob.name:
        _note_verified(blob)
        return path
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)
    return None


def fetch(
    repo_id: str,
    filename: str,
    revision: str,
    *,
    cache_dir: str | Path | None = None,
    endpoint: str | None = None,
    instead: str = "pass --model PATH with the place of your copy",
) -> Path:
    """Give the local path of a file of the hub, fetching it when it is not in the cache.

    Args:
        repo_id: owner and name of the repository.
        filename: path inside the repository.
        revision: 40 hexadecimal digits of a commit.
        cache_dir: None takes the hub's own (`HF_HUB_CACHE`).
        endpoint: None takes the hub's own (`HF_ENDPOINT`).
        instead: what else the user can do, for the message.

    Raises:
        DownloadError: not cached and no way to fetch it (`HF_HUB_OFFLINE` set, no network, no such
            file, full disk), or what came is not what the hub has recorded.
    """
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise DownloadError(f"{repo_id}: revision {revision!r} is not a commit")
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    try:
        if (cached := find_cached(repo_id, filename, revision, cache_dir=cache_dir)) is not None:
            return cached
        url = hf_hub_url(repo_id, filename, revision=revision, endpoint=endpoint)
        folder = Path(cache_dir or constants.HF_HUB_CACHE).expanduser()
        folder = folder / f"models--{repo_id.replace('/', '--')}"
        place = folder / "snapshots" / revision / filename
    except (OSError, ValueError) as error:
        raise DownloadError(f"{filename} of {repo_id}: {_why(error)}") from None
    try:
        remote = get_hf_file_metadata(url, endpoint=endpoint)
        blob = _download(remote, folder / "blobs", revision)
        _point(place, blob)
    except EzAudioError:
        raise
    except Exception as error:  # the classes of a network error vary with the client's version
        raise DownloadError(
            f"{filename} of {repo_id} is not on this machine and cannot be fetched "
            f"({_why(error)}); get {url} elsewhere and save it as {place}, or {instead}"
        ) from None
    return place


def _download(remote: HfFileMetadata, blobs: Path, revision: str) -> Path:
    """Bring one file to `blobs`, going on with what an earlier call left there."""
    from huggingface_hub.file_download import http_get

    etag, size = remote.etag or "", remote.size
    if remote.commit_hash not in (None, revision):
        raise ValueError(f"the server answered for commit {remote.commit_hash}")
    if not _is_hash(etag):
        raise ValueError("the server names no hash to check it with")
    blob = blobs / etag

    def bring(file: BinaryIO, have: int) -> None:
        http_get(
            remote.location,
            file,
            resume_size=have,
            expected_size=size,
            headers={"Accept-Encoding": "identity"},
            displayed_filename=blobs.parent.name.removeprefix("models--"),
        )

    def check(part: Path) -> None:
        if (found := _hash(part, etag)) != etag:
            raise ValueError(f"its hash is {found}, the hub has recorded {etag}; try again")

    download(
        blob,
        blobs / f"{etag}.incomplete",
        lock=blobs / f".{etag}.lock",
        bring=bring,
        whole=lambda path: _hash(path, etag) == etag,
        check=check,
        size=size,
    )
    _note_verified(blob)
    return blob


def _point(place: Path, blob: Path) -> None:
    """Give the blob its name: a link, or the file itself where links are unknown."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        place.unlink()
    try:
        place.symlink_to(os.path.relpath(blob, place.parent))
    except (OSError, NotImplementedError):
        blob.replace(place)


def _is_hash(name: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}|[0-9a-f]{40}", name) is not None


def _hash(path: Path, like: str) -> str:
    """SHA-256 of a file, or git's SHA-1 of it when `like` has the length of one."""
    git = len(like) == 40
    digest: Any = hashlib.sha1(usedforsecurity=False) if git else hashlib.sha256()
    if git:
        digest.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return str(digest.hexdigest())


def _marker(blob: Path) -> Path:
    return blob.parent.parent / ".ezaudio-verified" / blob.name


def _state(blob: Path) -> list[int]:
    status = blob.stat()
    return [status.st_size, status.st_mtime_ns]


def _was_verified(blob: Path) -> bool:
    with suppress(OSError, ValueError):
        return bool(json.loads(_marker(blob).read_text(encoding="utf-8")) == _state(blob))
    return False


def _note_verified(blob: Path) -> None:
    """Remember that a blob was checked; a cache that cannot be written is checked each time."""
    with suppress(OSError, EzAudioError):
        _marker(blob).parent.mkdir(exist_ok=True)
        write_bytes(_marker(blob), json.dumps(_state(blob)).encode())


def _why(error: BaseException) -> str:
    """Say in a few words what went wrong."""
    name = type(error).__name__
    status = getattr(getattr(error, "response", None), "status_code", None)
    if name == "OfflineModeIsEnabled":
        return "offline mode is on"
    if status is not None:
        return f"the hub answers {status}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{text}" if isinstance(error, ValueError) else f"no connection: {text or name}"
