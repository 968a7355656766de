"""Webhooks: content, signature, allowed addresses, one attempt to send, and which is next."""
