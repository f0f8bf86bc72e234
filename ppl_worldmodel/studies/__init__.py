"""The main jobs: `study` of one model (what `worldmodel check` runs) and `calibrate`; their result, and the engines that apply."""
