"""What the service does, one use case a file (reads of one kind of resource share theirs)."""
