"""All services of Atrium in one process, and the ``atrium`` command."""
