"""Meeting links: found in what a person pasted, unwrapped, recognised, hidden in logs. Pure."""
