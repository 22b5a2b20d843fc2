"""How the shipped tagger was trained: `python -m ezaudio.evaluation.starter_tagger`."""
