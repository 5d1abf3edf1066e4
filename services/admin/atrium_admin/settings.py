"""What an operator can set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from atrium_shared.settings import InstallationSecret, Settings


class AdminSettings(Settings):
    """Settings of the admin service, read once when it starts."""

    model_config = SettingsConfigDict(env_prefix="ADMIN_")

    secret: Annotated[InstallationSecret, Field(validation_alias="ATRIUM_SECRET")]
    """Secret that all services of the installation share; it also seals the signing keys."""

    address: str = "127.0.0.1:7407"
    """Where the admin service listens when it runs alone, host:port."""

    http_address: str = ""
    """Where SCIM is served when the admin service runs alone, host:port; empty: nowhere."""

    database_url: str = "sqlite+aiosqlite:///var/admin.db"
    """Database of everything: sqlite+aiosqlite:///FILE or postgresql+asyncpg://HOST/NAME."""

    poll_seconds: Annotated[float, Field(ge=0.05, le=1.0)] = 0.2
    """How often to look for policy changes of other replicas, in seconds."""

    cached_tenants: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Tenants whose policies are kept in memory; the least recently used go first."""

    checkpoint_events: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Sign a tenant's audit log when it grew by so many events."""

    checkpoint_seconds: Annotated[float, Field(ge=1.0, le=86_400.0)] = 300.0
    """Sign a tenant's audit log when it grew at all and was not signed for so long, in seconds."""

    policy_history_days: Annotated[int, Field(ge=0, le=36_500)] = 1_825
    """How many days back it is known who could do what; 0 for ever."""

    oidc_loopback_http: bool = False
    """True lets identity providers on this very machine speak plain http, to try one out."""

    log_json: bool = False
    """True writes logs as JSON, one object a line."""
