"""A listener for the starter model: a classifier of sound kinds trained on real recordings."""

from judge.kinds import Kind, read_kinds
from judge.network import Judge, load_judge

__all__ = ["Judge", "Kind", "load_judge", "read_kinds"]
