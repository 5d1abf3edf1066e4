"""Questions and answers over a tenant's documents."""
