"""Webhooks: content, signature, allowed addresses, one attempt to send, and the choice of the next one."""
