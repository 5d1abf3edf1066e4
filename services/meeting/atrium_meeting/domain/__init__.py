"""Dataclasses and rules of meetings; no technology."""
