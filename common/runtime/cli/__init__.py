"""What the command lines of both programs share: who knows one knows the other. Starts quickly: no Redis here."""
