"""A task small enough to be killed many times, and children to run it in."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import socket
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ezaudio.data.keys import generator_at
from ezaudio.training.loop.distributed import Engine, EngineConfig
from ezaudio.training.loop.optim import OptimConfig, update
from ezaudio.training.loop.task import Heard, Plan
from ezaudio.training.loop.trainer import RunConfig, train

OPTIM = OptimConfig(rate=0.01, warmup_steps=5, decay_share=0.3)


class LineTask:
    """Learns the sum of three numbers from rows that follow from (seed, step, row)."""

    rows = 4

    def __init__(self, engine, *, seed=0, poison=None, pause_s=0.0):
        self.engine, self.seed, self.poison, self.pause_s = engine, seed, poison, pause_s
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.module = engine.prepare(self.network)
        self.optimizer = OPTIM.build(self.module)
        self.validations = 0

    def parts(self):
        return {"network": self.network, "optimizer": self.optimizer}

    def row_numbers(self):
        own = self.rows // self.engine.world
        return range(self.engine.rank * own, (self.engine.rank + 1) * own)

    def step(self, index, rate):
        rows = [torch.randn(3, generator=generator_at(self.seed, index, r))
                for r in self.row_numbers()]  # fmt: skip
        x = torch.stack(rows)
        if index == self.poison:
            x[0, 0] = float("nan")
        loss = (self.module(x) - x.sum(1, keepdim=True)).square().mean()
        self.engine.backward(loss)
        norm = self.engine.clip(self.module, OPTIM.clip_norm)
        update(self.optimizer, rate=OPTIM.rate * rate)
        time.sleep(self.pause_s)
        return {"loss": loss.detach(), "gradient_norm": norm, "sound_s": 2.0}

    def validate(self):
        self.validations += 1
        x = torch.eye(3)
        with torch.no_grad():
            return {"valid_loss": float((self.network(x) - 1).square().mean())}

    def export(self, folder, *, step):
        path = folder / "line.txt"
        if self.engine.main:
            path.write_text(f"{step}")
        return [path]

    def plan(self):
        return Plan(parameters=41, trainable=41, state_bytes=41 * 16)

    def describe(self, index):
        return ", ".join(f"step {index} row {r}" for r in self.row_numbers())

    def listen(self):
        wave = np.sin(np.arange(2400) * 0.1).astype(np.float32)
        return [Heard("a tone", wave, 24_000)]


RUN = {"steps": 40, "log_every": 1, "save_every": 7, "tensorboard": False}


def run_line(folder, *, resume=False, poison=None, pause_s=0.0, **changes):
    """Train the toy on this process."""
    engine = Engine(EngineConfig(device="cpu"))
    task = LineTask(engine, poison=poison, pause_s=pause_s)
    run = RunConfig(**{**RUN, **changes})
    return train(task, run, engine, folder=Path(folder), schedule=OPTIM, resume=resume)


@functools.cache
def children():
    """Processes that begin with everything imported, and so cost nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.toys", "accelerate"])
    return context


def as_rank(rank, world, port, target, *arguments, **named):
    """Run a function as one of several processes, as torchrun would start it."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    target(*arguments, **named)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def on_processes(world, target, *arguments, **named):
    """Run a function on several processes, and wait for all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        children().Process(
            target=as_rank, args=(rank, world, port, target, *arguments), kwargs=named
        )
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(240)
    return [process.exitcode for process in ranks]


def on_two(target, *arguments, **named):
    """Run a function on two processes, and wait for both."""
    return on_processes(2, target, *arguments, **named)


def killed_at_random(target, *arguments, kills, most_s, log, **named):
    """Start a function again and again, killing it after up to `most_s` seconds, until it ends.

    The first time the clock starts with the first line of the log, then with the process, so that
    loading, steps and checkpoints are all hit. After `kills` kills it is left alone.

    Returns:
        How often it was killed.
    """
    done, process = 0, None
    while process is None or process.exitcode != 0:
        process = children().Process(target=target, args=arguments, kwargs=named)
        process.start()
        while not done and process.is_alive() and not log.exists():
            time.sleep(0.005)
        process.join(120 if done == kills else random.uniform(0, most_s))
        if process.is_alive():
            assert done < kills, "it never ends"
            process.kill()  # SIGKILL
            process.join()
            done += 1
        else:
            assert process.exitcode == 0
    return done
