"""Names of replies: whoever holds one can say what became of the reply, and nothing is stored."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from datetime import date

from atrium_gateway.app.caller import Caller
from atrium_gateway.domain.errors import GenerationNotFound
from atrium_gateway.domain.outcomes import Generation
from atrium_shared.clock import Clock

_PREFIX = "generations/"
_ID_BYTES = 9
_DAY_BYTES = 3
_SIGNATURE_BYTES = 16


class GenerationNames:
    """Makes and reads names that carry task, model and day under a signature.

    The signature binds the tenant, too: the name of another tenant's reply reads like one that
    never was.

    Args:
        key: 32 secret bytes, the same in every replica.
        clock: Says which day it is.
    """

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def new(self, caller: Caller, model: str) -> str:
        """Return a new name, ``"generations/..."``.

        Args:
            caller: Whose call, and what for.
            model: Resource name of the model that answered.
        """
        day = self._clock.now().toordinal().to_bytes(_DAY_BYTES, "big")
        told = secrets.token_bytes(_ID_BYTES) + day + f"{caller.task}\n{model}".encode()
        token = self._signature(caller.tenant, told) + told
        return _PREFIX + base64.urlsafe_b64encode(token).rstrip(b"=").decode()

    def read(self, tenant: str, name: str) -> Generation:
        """Return what a name tells.

        Raises:
            GenerationNotFound: It is not one of this tenant's.
        """
        text = name.removeprefix(_PREFIX)
        try:
            # Only ASCII: other alphabets' digits would make a second spelling of the same name.
            token = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", True)
        except (binascii.Error, ValueError) as error:
            raise GenerationNotFound from error
        signature, told = token[:_SIGNATURE_BYTES], token[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(tenant, told)):
            raise GenerationNotFound
        day_at = _ID_BYTES + _DAY_BYTES
        task, _, model = told[day_at:].decode().partition("\n")
        return Generation(
            base64.urlsafe_b64encode(told[:_ID_BYTES]).decode(),
            task,
            model,
            date.fromordinal(int.from_bytes(told[_ID_BYTES:day_at], "big")),
        )

    def _signature(self, tenant: str, told: bytes) -> bytes:
        signed = tenant.encode() + b"\n" + told
        return hmac.digest(self._key, signed, "sha256")[:_SIGNATURE_BYTES]
