"""The model gateway: one door to every model, and what it cost."""
