"""How the shipped tagger was trained: `python -m benchmarks.starter_tagger`."""
