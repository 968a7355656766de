"""What comes from outside, checked: pushed jobs, and the addresses that they name."""
