"""What `./dev bench` measures: the budgets, each beside a peer or a bare floor in the same run. Not installed."""
