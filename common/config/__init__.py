"""The settings of both programs: what each may be, its default, and what may be shown of it. Pure."""
