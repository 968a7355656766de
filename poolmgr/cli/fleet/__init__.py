"""Commands about the fleet as a whole, and about VMs."""
