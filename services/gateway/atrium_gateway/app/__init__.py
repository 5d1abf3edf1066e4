"""What the gateway does, one use case a file."""
