"""`poolmgr up`: manager, agent and a private Redis on one machine, started as programs, watched, and ended in order."""
