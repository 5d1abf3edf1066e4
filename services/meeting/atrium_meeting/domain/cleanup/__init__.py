"""What people say and nobody wants to read: marked, never lost."""
