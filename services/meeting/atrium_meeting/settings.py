"""What an operator can set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from atrium_shared.settings import InstallationSecret, Settings


class MeetingSettings(Settings):
    """Settings of the meeting service, read once when it starts."""

    model_config = SettingsConfigDict(env_prefix="MEETING_")

    address: str = "127.0.0.1:7402"
    """Where the meeting service listens when it runs alone, host:port."""

    database_url: str = "sqlite+aiosqlite:///var/meeting.db"
    """Database of records: sqlite+aiosqlite:///FILE or postgresql+asyncpg://HOST/NAME."""

    jobs_url: str = "sqlite:///var/meeting-jobs.db"
    """Database of jobs when it runs alone: sqlite:///FILE or postgresql+psycopg://HOST/NAME."""

    blob_url: str = f"file://{Path.cwd()}/var/meeting-files"
    """Recordings and what is worked out of them: file:///FOLDER or s3://BUCKET/PREFIX."""

    replica: Annotated[str, Field(min_length=1, max_length=100)] = "meeting"
    """Name of this process, the same after a restart and unique among its peers."""

    models_dir: Annotated[Path, Field(validation_alias="ATRIUM_MODELS_DIR")] = Path(
        "~/.cache/atrium/models"
    )
    """Folder of the model store."""

    recognition_model: Annotated[str, Field(min_length=1, max_length=200)] = "whisper-base"
    """Model of the store that recognises speech, or `none`."""

    recognition_model_dir: Path | None = None
    """Folder of any faster-whisper model (CTranslate2), instead of one of the store."""

    recognition_compute_type: Literal["int8", "int8_float32", "float32", "float16", "auto"] = "int8"
    """Arithmetic of speech recognition; `int8` is fastest on a CPU."""

    recognition_threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Pieces of recordings that are recognised at the same time."""

    recognition_cpu_threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Threads of each of them. 0: one a core, shared out among them."""

    call_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads for what somebody waits for: cleaning text, reading and writing files."""

    minutes_concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Minutes that are written at the same time, beside those that come with a recording."""

    live_threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Live streams that are recognised at the same time; the others wait their turn."""

    live_partial_seconds: Annotated[float, Field(ge=0.2, le=10)] = 1.0
    """After how many seconds of new speech a live stream gets a partial result."""

    live_silence_ms: Annotated[int, Field(ge=400, le=2000)] = 600
    """Silence that ends an utterance of a live stream, in milliseconds."""

    live_buffer_seconds: Annotated[float, Field(ge=25, le=600)] = 30.0
    """Speech of a live stream that may wait to be recognised, in seconds; then its sender waits."""

    live_stall_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 60.0
    """A live stream ends when no sound comes for so many seconds; it can be gone on with."""

    live_keep_seconds: Annotated[float, Field(ge=0.1, le=60)] = 10.0
    """How often it is stored how far a live stream is, in seconds. Unless it ended in order, it
    counts as open for three times as long, at least for 30 s."""

    live_abandoned_hours: Annotated[float, Field(gt=0, le=720)] = 2.0
    """A live meeting to which nobody streams for so many hours is ended with what was said; until
    then its stream can be gone on with."""

    max_live_hours: Annotated[float, Field(gt=0, le=24)] = 6.0
    """Longest live meeting, in hours."""

    recordings_concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    """Recordings that are worked on at the same time."""

    max_recording_bytes: Annotated[int, Field(ge=1)] = 2 * 1024 * 1024 * 1024
    """Largest recording in bytes, where the tenant has no limit of its own."""

    max_recording_hours: Annotated[float, Field(gt=0, le=24)] = 6.0
    """Longest recording, in hours."""

    piece_minutes: Annotated[float, Field(ge=0.05, le=30)] = 5.0
    """Length of the pieces in which a recording is worked on, in minutes: a crash repeats one."""

    diarization: Literal["built-in", "pyannote", "none"] = "built-in"
    """What tells speakers apart; `pyannote` needs `pyannote_python` and `pyannote_dir`."""

    pyannote_python: Path | None = None
    """Python of an environment that has pyannote.audio."""

    pyannote_dir: Path | None = None
    """Folder of a pyannote pipeline (config.yaml and its models)."""

    admin_target: Annotated[str, Field(validation_alias="ATRIUM_ADMIN_TARGET")] = "127.0.0.1:7407"
    """The admin service, host:port."""

    gateway_target: Annotated[str, Field(validation_alias="ATRIUM_GATEWAY_TARGET")] = (
        "127.0.0.1:7401"
    )
    """The gateway, host:port."""

    secret: Annotated[InstallationSecret | None, Field(validation_alias="ATRIUM_SECRET")] = None
    """The installation's secret. Needed when the meeting service runs alone."""

    log_json: bool = False
    """True: logs are JSON lines."""

    @property
    def threads_per_recognition(self) -> int:
        """Threads of one recognition."""
        cores = os.cpu_count() or 1
        return self.recognition_cpu_threads or max(1, cores // self.recognition_threads)
