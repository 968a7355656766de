"""The workers of this VM, from the order to the end."""
