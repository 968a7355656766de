"""What `./dev bench` measures: the budgets, each compared in the same run with another program or with the bare cost.
Not installed.
"""
