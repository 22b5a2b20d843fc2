"""The one loop and all that it needs: processes, checkpoints, log, optimiser, averages."""
