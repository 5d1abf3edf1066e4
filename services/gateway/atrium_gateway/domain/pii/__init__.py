"""Personal data in texts: found, replaced by placeholders, and put back. Standard library alone."""

from atrium_gateway.domain.pii.detect import Detector
from atrium_gateway.domain.pii.kinds import Found, PiiKind
from atrium_gateway.domain.pii.placeholders import Redaction, Restoration, Restorer

__all__ = ["Detector", "Found", "PiiKind", "Redaction", "Restoration", "Restorer"]
