"""The manager over HTTP: one file per resource. Asks and answers; decides nothing."""
