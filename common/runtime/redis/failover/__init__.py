"""A Redis that fails over: who says which server takes writes, and connections that go there."""
