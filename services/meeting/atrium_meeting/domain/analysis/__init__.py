"""What a meeting was about, by rules and counts: sentences, type, chapters, decisions, actions.

Everything here works without a model; vectors of an encoder, where there is one, come in as an
argument.
"""
