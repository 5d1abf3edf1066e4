"""Dataclasses and rules of knowledge; no technology."""
