"""Any other program as a system, run by its own command in its own environment.

The command is a template, taken apart as a shell would and run without one. It is run once for each
clip, or, where it takes a list, once for all clips of a seed. Placeholders:

    {prompt} {name} {index} {seed} {duration} {output}   per clip; {output} is the file to write
    {list} {folder} {seed} {duration}                    per seed; {list} is a file of what to make,
                                                         {folder} is where the sounds go

`list_format` says what {list} holds: `captions` (one a line), `jsonl` or `csv` (name, caption,
duration, seed). `naming` says how the program calls its files in {folder}. A program that chooses
the place itself and says it is read by `printed`: a pattern whose first group is the path.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ezaudio.audio import read_audio, write_audio
from ezaudio.config import Config
from ezaudio.data.collections.folder import sounds_below
from ezaudio.errors import EzAudioError, InputError, OutputError
from ezaudio.evaluation.clips import ClipSet
from ezaudio.evaluation.systems.base import (
    JOB_KEY,
    Generation,
    GenerationPlan,
    Naming,
    Progress,
    generations_of,
    made_sounds,
    missing,
)
from ezaudio.files import write_bytes

_SHOWN_CHARACTERS = 300


class CommandConfig(Config):
    """A program of somebody else.

    Attributes:
        name: for tables.
        command: the template.
        list_format: what `{list}` holds.
        naming: how the program calls its files in `{folder}`.
        printed: pattern that finds the path of a sound in what the program prints.
        directory: where it is run; None takes the current one.
        environment: further variables.
        duration_s: length of clips that do not say theirs.
        timeout_s: longest time of one call.
    """

    kind: Literal["command"] = "command"
    name: str
    command: str
    list_format: Literal["captions", "jsonl", "csv"] = "jsonl"
    naming: str = "{name}"
    printed: str | None = None
    directory: Path | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    duration_s: float = 10.0
    timeout_s: float = 86_400.0

    def build(self) -> CommandSystem:
        """Check the template."""
        return CommandSystem(self)


class CommandSystem:
    """A program of somebody else.

    Args:
        config: how it is called.

    Raises:
        InputError: the template says neither where a sound goes nor how it is found.
    """

    def __init__(self, config: CommandConfig) -> None:
        self.config = config
        self.naming = Naming(config.naming)
        self.whole = "{list}" in config.command and "{folder}" in config.command
        if not (self.whole or "{output}" in config.command or config.printed):
            allowed = "a command with {output}, or with {list} and {folder}, or `printed`"
            raise InputError("command", config.command, allowed)
        try:
            self.words = shlex.split(config.command)
        except ValueError as error:
            raise InputError("command", config.command, f"a command line ({error})") from None

    @property
    def name(self) -> str:
        """For tables."""
        return self.config.name

    def facts(self) -> Mapping[str, Any]:
        """The command."""
        return {"command": self.config.command}

    def make(self, plan: GenerationPlan, folder: Path, *, progress: Progress | None = None) -> None:
        """Run the command for what is not there yet.

        Raises:
            OutputError: the command fails, or a sound is missing after it.
        """
        jobs = generations_of(plan, folder, self.facts(), self.config.duration_s)
        todo = missing(jobs)
        if self.whole:
            for take in sorted({job.take for job in todo}):
                own = [job for job in todo if job.take == take]
                self._make_list(own)
                if progress is not None:
                    done = sum(job.take <= take for job in todo)
                    progress(f"make {self.name}", done, len(todo))
            return
        for count, job in enumerate(todo, start=1):
            self._make_one(job, plan)
            if progress is not None:
                progress(f"make {self.name}", count, len(todo))

    def sounds(self, plan: GenerationPlan, folder: Path) -> list[ClipSet]:
        """The sounds of each seed."""
        return made_sounds(self.name, plan, folder, self.config.duration_s)

    def _make_one(self, job: Generation, plan: GenerationPlan) -> None:
        with tempfile.TemporaryDirectory(dir=job.make_room()) as scratch:
            output = Path(scratch).resolve() / "sound.wav"
            values = {
                "prompt": job.item.caption,
                "name": job.item.name,
                "index": str(plan.items.index(job.item)),
                "seed": str(job.seed),
                "duration": f"{job.duration_s:g}",
                "output": str(output),
            }
            said = self._run(values)
            if self.config.printed is not None and (hit := re.search(self.config.printed, said)):
                output = (self.config.directory or Path()) / hit[1].strip()
            elif not output.is_file():  # some programs add a number or an ending of their own
                output = next(iter(_sounds_below(Path(scratch))), output)
            self._keep(job, output)

    def _make_list(self, jobs: Sequence[Generation]) -> None:
        """Run the command once; when it fails or is stopped, what it had made is kept."""
        with tempfile.TemporaryDirectory(dir=jobs[0].make_room()) as scratch:
            listing = Path(scratch).resolve() / "list.txt"
            folder = listing.with_name("sounds")
            folder.mkdir()
            write_bytes(listing, list_of(jobs, self.config.list_format).encode())
            values = {"list": str(listing), "folder": str(folder), "seed": str(jobs[0].seed)}
            try:
                self._run({**values, "duration": f"{jobs[0].duration_s:g}"})
            except BaseException:
                self._rescue(jobs, folder)
                raise
            for job, path in zip(jobs, self._found(jobs, folder), strict=True):
                self._keep(job, path)

    def _found(self, jobs: Sequence[Generation], folder: Path) -> list[Path]:
        """Where the sound of each job is, or should be."""
        made: dict[str, Path] = {}
        for path in _sounds_below(folder):
            made.setdefault(path.stem, path)
            made[path.relative_to(folder).with_suffix("").as_posix()] = path
        stems = [self.naming.stem(index, job.item) for index, job in enumerate(jobs)]
        return [made.get(stem, folder / f"{stem}.wav") for stem in stems]

    def _rescue(self, jobs: Sequence[Generation], folder: Path) -> None:
        """Keep all sounds but the newest, which the program may not have finished."""
        by_age = sorted(_sounds_below(folder), key=lambda path: path.stat().st_mtime_ns)
        whole = set(by_age[:-1])
        for job, path in zip(jobs, self._found(jobs, folder), strict=True):
            if path in whole:
                with suppress(EzAudioError):
                    self._keep(job, path)

    def _run(self, values: Mapping[str, str]) -> str:
        pattern = re.compile("|".join(re.escape(f"{{{key}}}") for key in values))
        words = [pattern.sub(lambda hit: values[hit[0][1:-1]], word) for word in self.words]
        try:
            done = subprocess.run(
                words,
                cwd=self.config.directory,
                env={**os.environ, **self.config.environment},
                capture_output=True,
                text=True,
                timeout=self.config.timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(f"{self.name}: the command cannot be run ({error})") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[-_SHOWN_CHARACTERS:]
            raise OutputError(f"{self.name}: the command left with {done.returncode}: {said}")
        return done.stdout

    def _keep(self, job: Generation, path: Path) -> None:
        """Take a sound over, sample by sample, with the job's mark inside."""
        if not path.is_file():
            raise OutputError(f"{self.name}: no sound for {job.item.name} after the command")
        try:
            clip = read_audio(path, mono=False)
        except EzAudioError as error:
            raise OutputError(f"{self.name}: {error}") from None
        metadata = {JOB_KEY: job.mark, "prompt": job.item.caption, "seed": job.seed}
        write_audio(job.path, clip.samples, clip.sample_rate, metadata=metadata, subtype="float32")


def list_of(jobs: Sequence[Generation], form: str) -> str:
    """What a program is to make, as captions, JSON Lines or CSV."""
    if form == "captions":
        return "".join(f"{' '.join(job.item.caption.split())}\n" for job in jobs)
    rows = [
        {
            "name": job.item.name,
            "caption": job.item.caption,
            "duration": job.duration_s,
            "seed": job.seed,
        }
        for job in jobs
    ]
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _sounds_below(folder: Path) -> list[Path]:
    return [folder / inside for inside in sounds_below(folder)[0]]
