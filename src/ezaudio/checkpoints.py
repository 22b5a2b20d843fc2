"""Model files: safetensors with the configuration inside, never half written.

A module file is a safetensors file whose metadata holds one key, `ezaudio`: JSON with `format`
(1), `kind` (what the tensors are: `dit`, `vae`, ...), `config` (what builds the module) and any
further facts. It needs no second file and it cannot run code. Files of other projects (`.pt`) are
read as plain tensors; a pickle that holds anything else is refused.

Torch is imported by the functions that handle tensors, so that commands which only list or describe
files start fast.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import secrets
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel
from safetensors import SafetensorError, safe_open

from ezaudio.config import Config, load_config
from ezaudio.errors import CheckpointError, InputError, NameTaken, OutputError

if TYPE_CHECKING:
    from torch import Tensor

C = TypeVar("C", bound=Config)

FORMAT = 1
METADATA_KEY = "ezaudio"
_RESERVED = ("format", "kind", "config")
_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class ModuleInfo:
    """What a module file says about itself, read without its tensors.

    Attributes:
        path: the file.
        kind: what the tensors are.
        config: settings that build the module.
        extra: further facts written by `save_module`.
        parameters: number of values in all tensors.
    """

    path: Path
    kind: str
    config: dict[str, Any]
    extra: dict[str, Any]
    parameters: int

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the whole file, computed when first asked for."""
        return sha256_file(self.path)


@dataclass(frozen=True)
class Loaded(ModuleInfo):
    """A module file with its tensors, which stay mapped to the file until they are written to.

    Attributes:
        tensors: name to tensor, on the CPU.
    """

    tensors: dict[str, Tensor]


def save_module(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    *,
    kind: str,
    config: BaseModel | Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write tensors and their configuration as one file, atomically.

    Args:
        path: where to write.
        tensors: name to tensor, on any device; shared and strided storage is allowed.
        kind: what the tensors are.
        config: settings that build the module; must be JSON.
        extra: further facts (JSON) to keep in the file.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
        ValueError: `extra` uses a reserved name.
    """
    from safetensors.torch import save_file

    facts = dict(extra or {})
    if clash := sorted(set(facts) & set(_RESERVED)):
        raise ValueError(f"extra must not use the names {clash}")
    settings = config.model_dump(mode="json") if isinstance(config, BaseModel) else dict(config)
    head = json.dumps(
        {"format": FORMAT, "kind": kind, "config": settings, **facts}, allow_nan=False
    )
    plain = _standalone(tensors)
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, metadata={METADATA_KEY: head})
        except SafetensorError as error:
            raise OutputError(f"cannot write {path}: {error}") from None


def load_module(path: str | Path, *, kind: str | None = None, sha256: str | None = None) -> Loaded:
    """Read a file of `save_module`.

    Args:
        path: the file.
        kind: refuse a file of another kind.
        sha256: refuse a file with another hash.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, not ours, or of another kind or
            hash.
    """
    path = Path(path)
    with _opened(path) as file:
        info = _parsed(path, file, kind)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    loaded = Loaded(path, info.kind, info.config, info.extra, info.parameters, tensors)
    if sha256 is not None and loaded.sha256 != sha256.lower():
        raise CheckpointError(
            f"{path}: sha256 is {loaded.sha256}, expected {sha256}; the file is damaged"
        )
    return loaded


def read_module_info(path: str | Path) -> ModuleInfo:
    """Read kind, configuration and size of a module file, without its tensors.

    Raises:
        CheckpointError: as `load_module`.
    """
    path = Path(path)
    with _opened(path) as file:
        return _parsed(path, file, None)


def config_of(info: ModuleInfo, cls: type[C]) -> C:
    """Read the settings that a module file was written with.

    Raises:
        CheckpointError: they are not those of `cls`.
    """
    try:
        return load_config(cls, info.config)
    except InputError as error:
        raise CheckpointError(f"{info.path}: in its configuration, {error}") from None


def load_tensors(path: str | Path, prefix: str | tuple[str, ...] = "") -> dict[str, Tensor]:
    """Read the tensors of any safetensors file whose name starts with `prefix`, mapped to the file.

    Raises:
        CheckpointError: the file is missing, truncated or damaged.
    """
    with _opened(Path(path)) as file:
        return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def load_foreign(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of another project: a `.pt` of named tensors, or any safetensors file.

    A `.pt` is read with `weights_only`, so that it cannot run code, and mapped where its format
    allows it. Dicts may be nested.

    Raises:
        CheckpointError: missing, truncated, damaged, not a dict, or it holds more than tensors and
            plain values.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return dict(load_tensors(path))
    _require_file(path)
    try:
        content = _torch_load(path)
    except UnpicklingError:
        raise CheckpointError(
            f"{path}: refused, it is damaged or holds more than tensors (which could run code)"
        ) from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: truncated or damaged ({_first_line(error)})") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not named tensors")
    return content


def sha256_file(path: str | Path) -> str:
    """Hash a file.

    Raises:
        CheckpointError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


@contextmanager
def atomic_write(path: str | Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it takes the place of `path`.

    The file reaches the disk before it gets its name, so that `path` holds either what it held
    before or all of what was written. When the block fails, the temporary file is removed.

    Args:
        path: of the file.
        replace: whether a file that is there gives way.

    Raises:
        NameTaken: there is such a file by now, and it is not to be replaced.
        OutputError: for every error of the file system, a full disk included.
    """
    target = _writable(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)  # the block may have replaced the file by a private one
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if replace:
            temporary.replace(target)
        else:
            _take_name(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes, *, replace: bool = True) -> None:
    """Write a whole file atomically; arguments and errors as `atomic_write`."""
    with atomic_write(path, replace=replace) as temporary:
        temporary.write_bytes(content)


def _take_name(temporary: Path, target: Path) -> None:
    """Give a finished file its name unless a file has it, in one step that no other run can enter.

    Raises:
        NameTaken: a file has it.
        OSError: the file system refuses.
    """
    try:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except (OSError, AttributeError):  # no hard links here, such as on FAT
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            temporary.replace(target)
    except FileExistsError:
        raise NameTaken(f"cannot write {target}: a file of this name is there by now") from None


def require_writable(path: str | Path) -> None:
    """Refuse a place where no file can be written, before the work that would end there.

    Raises:
        OutputError: its folder is not there or may not be written, or it is no regular file.
    """
    target = _writable(path)
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: no permission to write into {target.parent}")


def _writable(path: str | Path) -> Path:
    """Follow links to the file that would be written, and refuse what cannot become one."""
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise OutputError(f"cannot write {path}: no folder {target.parent}") from None
        return target
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise OutputError(f"cannot write {path!s}: {reason}") from None
    if not stat.S_ISREG(mode):
        what = "is a folder" if stat.S_ISDIR(mode) else "is not a regular file"
        raise OutputError(f"cannot write {path}: it {what}")
    return target


def _standalone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor storage of its own: the file format knows no sharing."""
    seen: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != value.nbytes:
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        plain[name] = value
    return plain


def _require_file(path: Path) -> None:
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {reason}")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: the file is empty")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(f"{path}: truncated or damaged ({_first_line(error)})") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({_first_line(error)})") from None


def _parsed(path: Path, file: Any, kind: str | None) -> ModuleInfo:
    head = _head(path, (file.metadata() or {}).get(METADATA_KEY))
    if kind is not None and head["kind"] != kind:
        raise CheckpointError(f"{path}: holds a `{head['kind']}`, expected a `{kind}`")
    extra = {name: value for name, value in head.items() if name not in _RESERVED}
    shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    parameters = sum(math.prod(shape) for shape in shapes)
    return ModuleInfo(path, head["kind"], head["config"], extra, parameters)


def _head(path: Path, text: str | None) -> dict[str, Any]:
    if text is None:
        raise CheckpointError(f"{path}: not an ezaudio model file (no `{METADATA_KEY}` metadata)")
    try:
        head = json.loads(text)
    except ValueError:
        head = None
    if not isinstance(head, dict) or not isinstance(head.get("format"), int):
        raise CheckpointError(f"{path}: its `{METADATA_KEY}` metadata is damaged")
    if head["format"] != FORMAT:
        raise CheckpointError(f"{path}: file format {head['format']}, this version reads {FORMAT}")
    if not isinstance(head.get("kind"), str) or not isinstance(head.get("config"), dict):
        raise CheckpointError(f"{path}: its `{METADATA_KEY}` metadata lacks kind or config")
    return head


def _torch_load(path: Path) -> object:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on how others pickled their file
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
