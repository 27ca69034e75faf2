"""`audio-vq bench`: a file per theme; `measurement.py` says how things are measured, `runner.py` measures them all."""
