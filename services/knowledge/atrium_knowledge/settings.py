"""What an operator can set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from atrium_shared.settings import InstallationSecret, Settings


class KnowledgeSettings(Settings):
    """Settings of knowledge, read once when it starts."""

    model_config = SettingsConfigDict(env_prefix="KNOWLEDGE_")

    address: str = "127.0.0.1:7403"
    """Where knowledge listens when it runs alone, host:port."""

    database_url: str = "sqlite+aiosqlite:///var/knowledge.db"
    """Database of records: sqlite+aiosqlite:///FILE or postgresql+asyncpg://HOST/NAME."""

    jobs_url: str = "sqlite:///var/knowledge-jobs.db"
    """Database of jobs when it runs alone: sqlite:///FILE or postgresql+psycopg://HOST/NAME."""

    blob_url: str = f"file://{Path.cwd()}/var/knowledge-files"
    """Files and their texts: file:///FOLDER or s3://BUCKET/PREFIX."""

    index_dir: Path = Path("var/knowledge-index")
    """Folder of the passage index. One process alone may use it."""

    replica: Annotated[str, Field(min_length=1, max_length=100)] = "knowledge"
    """Name of this process, the same after a restart and unique among its peers."""

    max_upload_bytes: Annotated[int, Field(ge=1)] = 50 * 1024 * 1024
    """Largest file in bytes, where the tenant has no limit of its own."""

    ingest_concurrency: Annotated[int, Field(ge=1, le=64)] = 3
    """Documents taken in at the same time."""

    evaluation_concurrency: Annotated[int, Field(ge=1, le=16)] = 1
    """Evaluation runs whose questions are asked at the same time."""

    parser_processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that read files."""

    index_threads: Annotated[int, Field(ge=1, le=64)] = 4
    """Threads that work on the passage index."""

    index_shards_open: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Collections whose index is open at the same time."""

    upkeep_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """How often missing vectors are looked for, in seconds."""

    answers_kept_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    """How long answers without feedback can get feedback, in days."""

    conversations_kept_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    """How long a conversation is kept after its last question, in days."""

    admin_target: Annotated[str, Field(validation_alias="ATRIUM_ADMIN_TARGET")] = "127.0.0.1:7407"
    """The admin service, host:port."""

    gateway_target: Annotated[str, Field(validation_alias="ATRIUM_GATEWAY_TARGET")] = (
        "127.0.0.1:7401"
    )
    """The gateway, host:port."""

    secret: Annotated[InstallationSecret | None, Field(validation_alias="ATRIUM_SECRET")] = None
    """The installation's secret. Needed when knowledge runs alone."""

    log_json: bool = False
    """True: logs are JSON lines."""
