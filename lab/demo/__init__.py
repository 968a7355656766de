"""What `./dev demo` shows: the whole main job on one machine, with real parts. Not installed with the programs."""
