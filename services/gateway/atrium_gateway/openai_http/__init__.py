"""The OpenAI API over HTTP: chat completions, embeddings and models for any OpenAI client."""
