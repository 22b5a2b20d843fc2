"""Torch building blocks that know nothing about sound."""
