"""What only the leader does in Redis: takes work in, carries out decisions, and takes over from an earlier leader."""
