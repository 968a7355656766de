"""The manager's web page, which shows the fleet to people. It reads from the store and decides nothing."""
