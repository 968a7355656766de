"""Managers and agents without processes, on the real scripts: thousands of faults in minutes. `./dev chaos --core`."""
