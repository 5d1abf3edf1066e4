"""The ``atrium`` command."""
