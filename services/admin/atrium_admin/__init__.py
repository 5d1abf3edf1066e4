"""The admin service: who is who, who may do what, and what was done."""
