"""Tenants, users, groups, roles, keys and the audit log, and the rules that they obey."""
