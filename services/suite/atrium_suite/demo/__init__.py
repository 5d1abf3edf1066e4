"""The demo: a company's handbook, four people, the same questions."""
