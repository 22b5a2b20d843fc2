"""Other projects' programs as entries of a file of systems, to start from.

Each runs in an environment of its own, made as that project says. In an entry, `PYTHON` stands for
that environment's interpreter and `REPOSITORY` for the project's folder: put your own in their
place. The entries follow the projects' own instructions; none of them can be run where this
project's tests run, so listen to the first sounds before you trust a score.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ezaudio.pipelines.catalogue import HEADLINE

_BRIDGES = Path(__file__).with_name("bridges")


def peer_entries() -> list[dict[str, Any]]:
    """The entries as plain values."""
    whole = "{list} {folder}"
    tango = {
        "Tango": "declare-lab/tango-full-ft-audiocaps",
        "Tango-AF": "declare-lab/tango-af-ac-ft-ac",
        "Tango-2": "declare-lab/tango2-full",
    }
    entries: list[dict[str, Any]] = [
        {
            "name": name,
            "command": f"PYTHON {_BRIDGES / 'tango.py'} {whole} {checkpoint}",
            "directory": "REPOSITORY",
        }
        for name, checkpoint in tango.items()
    ]
    entries += [
        {"name": "TangoFlux", "command": f"PYTHON {_BRIDGES / 'tangoflux.py'} {whole}"},
        {"name": "AudioGen", "command": f"PYTHON {_BRIDGES / 'audiogen.py'} {whole}"},
        {
            "name": "Make-An-Audio",
            "command": "PYTHON gen_wav.py --prompt {prompt} --duration {duration} "
            "--ddim_steps 100 --scale 3 --n_samples 1 --save_name {output}",
            "directory": "REPOSITORY",
        },
        {
            "name": "Make-An-Audio-2",
            "command": "PYTHON scripts/gen_wav.py --prompt {prompt} --duration {duration} "
            "--ddim_steps 100 --save_name {output}",
            "directory": "REPOSITORY",
        },
        {
            "name": "GenAU-Large",
            "command": "PYTHON scripts/text_to_audio.py --prompt {prompt} --seed {seed} --n_cand 1",
            "printed": r"saved audio sample at:\s*(\S.*)",
            "directory": "REPOSITORY",
        },
    ]
    return [{"kind": "command", **entry} for entry in entries]


def known_entries() -> list[dict[str, Any]]:
    """Pipelines of diffusers, with the settings that their authors recommend, and the paper's."""
    return [
        {
            "kind": "diffusers",
            "name": "AudioLDM",
            "model": "cvssp/audioldm-l-full",
            "pipeline": "AudioLDMPipeline",
            "settings": {"num_inference_steps": 200, "guidance_scale": 2.5},
        },
        {
            "kind": "diffusers",
            "name": "AudioLDM-2",
            "model": "cvssp/audioldm2-large",
            "pipeline": "AudioLDM2Pipeline",
            "settings": {"num_inference_steps": 200, "guidance_scale": 3.5},
        },
        {
            "kind": "diffusers",
            "name": "Stable-Audio-Open",
            "model": "stabilityai/stable-audio-open-1.0",
            "pipeline": "StableAudioPipeline",
            "settings": {"num_inference_steps": 100, "guidance_scale": 7.0},
        },
        {
            "kind": "diffusers",
            "name": "LongCat-AudioDiT",
            "model": "ruixiangma/LongCat-AudioDiT-1B-Diffusers",
            "pipeline": "LongCatAudioDiTPipeline",
        },
        {
            "kind": "diffusers",
            "name": "Stable-Audio-3",
            "model": "stabilityai/stable-audio-3-medium",
            "pipeline": "StableAudio3Pipeline",
        },
        {
            "kind": "diffusers",
            "name": "ACE-Step",
            "model": "MODEL",
            "pipeline": "AceStepPipeline",
        },
        *(
            {"kind": "ezaudio", "name": name, "model": model, "settings": dict(HEADLINE)}
            for name, model in (("EzAudio-L", "l"), ("EzAudio-XL", "xl"))
        ),
    ]
