"""A recorded call of minutes or hours whose sound and picture are known: what its finished file is like."""
