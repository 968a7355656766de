"""Commands that start something, or look at how this machine is set up."""
