"""One technology a file, behind the ports of :mod:`atrium_meeting.app.ports`."""
