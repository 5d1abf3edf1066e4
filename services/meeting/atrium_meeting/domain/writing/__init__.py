"""What a model is asked to write about a meeting, and how its reply is read."""
