"""The fault suite: real managers and agents, broken on purpose, judged from outside. `./dev chaos`."""
