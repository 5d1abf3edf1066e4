"""Addresses: taking a port, and saying plainly when it is taken."""

from __future__ import annotations

import errno
import socket

from atrium_suite.errors import AddressInUse, AddressUnusable


def listen(address: str, option: str, variable: str) -> socket.socket:
    """Return a socket that listens.

    Args:
        address: ``host:port``; port 0 takes a free one.
        option: Option of the command that chooses the address, for the error.
        variable: Variable that chooses it, for the error.

    Raises:
        AddressInUse: Another program listens there.
        AddressUnusable: The machine has no such address, or the port needs more rights.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressUnusable(address, error.strerror or str(error), option, variable) from error
    try:
        # Lets a restart have the port at once; two listeners on one port stay impossible.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(address, option, variable) from error
        raise AddressUnusable(address, error.strerror or str(error), option, variable) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Return ``host:port`` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
