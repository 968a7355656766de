"""The operations of the API, one file per resource, and the shapes of their JSON."""
