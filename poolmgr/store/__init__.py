"""The only room of the manager that speaks Redis: one method, one Lua script, for each thing that changes together."""
