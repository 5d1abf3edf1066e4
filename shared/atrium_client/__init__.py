"""The Python client of Atrium."""

from atrium_client.client import DEFAULT_TARGET, AtriumClient, readable_errors
from atrium_client.errors import AtriumCallError

__all__ = ["DEFAULT_TARGET", "AtriumCallError", "AtriumClient", "readable_errors"]
