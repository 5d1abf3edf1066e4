"""The model store: which models there are, where they come from, and the folder they live in."""

from __future__ import annotations

from atrium_models.catalog import Catalog, FileSpec, ModelSpec
from atrium_models.errors import (
    CatalogInvalid,
    FailedSource,
    ModelBundleInvalid,
    ModelBusy,
    ModelChecksumMismatch,
    ModelConversionFailed,
    ModelDiskFull,
    ModelNotPulled,
    ModelSourcesUnreachable,
    ModelStoreUnusable,
    ModelUnknown,
)
from atrium_models.progress import ProgressCallback, PullProgress, Stage
from atrium_models.store import ModelState, ModelStore, StoredModel, StoreOptions

__all__ = [
    "Catalog",
    "CatalogInvalid",
    "FailedSource",
    "FileSpec",
    "ModelBundleInvalid",
    "ModelBusy",
    "ModelChecksumMismatch",
    "ModelConversionFailed",
    "ModelDiskFull",
    "ModelNotPulled",
    "ModelSourcesUnreachable",
    "ModelSpec",
    "ModelState",
    "ModelStore",
    "ModelStoreUnusable",
    "ModelUnknown",
    "ProgressCallback",
    "PullProgress",
    "Stage",
    "StoreOptions",
    "StoredModel",
]
