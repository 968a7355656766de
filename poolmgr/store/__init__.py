"""The only package of the manager that uses Redis. What changes together is one method and one Lua script."""
