"""A service whose listener to the policy feed does nothing: what the evaluation must find.

``python -m tests.eval.revocation.deaf SERVICE changes`` acknowledges changes and ignores them;
``... SERVICE leases`` serves on when its lease has run out.
"""

from __future__ import annotations

import sys
from importlib import import_module

from atrium_shared.identity import IdentityClient


def ignore_change(_client: IdentityClient, _tenant: str, _users: frozenset[str]) -> None:
    """Forget nothing and end no stream."""


def always_leased(_client: IdentityClient) -> bool:
    """Say that the lease goes on."""
    return True


def main() -> int:
    """Run the service with its guard taken out."""
    service, guard = sys.argv[1:]
    if guard == "changes":
        IdentityClient._forget = ignore_change
    else:
        IdentityClient._has_lease = always_leased
    return int(import_module(f"atrium_{service}.__main__").main([]))


if __name__ == "__main__":
    sys.exit(main())
