"""One technology a file, behind the ports of :mod:`atrium_knowledge.app.ports`."""
