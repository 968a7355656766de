"""The Redis client, Lua scripts and their calls, and the search for the primary of a Redis that fails over."""

from common.runtime.imports import without

# redis-py imports OpenTelemetry's metrics if they are installed, which are not used here: that costs a
# daemon 85 ms and 3 MB. So it has to import this package before anything else imports redis.
with without("opentelemetry"):
    import redis.asyncio as _asyncio  # noqa: F401  # pyright: ignore[reportUnusedImport]
