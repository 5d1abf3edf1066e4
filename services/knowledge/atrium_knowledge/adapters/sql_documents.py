"""Documents, versions and passages in the relational database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_knowledge.adapters import tables
from atrium_knowledge.adapters.sql_collections import (
    drop_old_texts,
    insert_purge,
    intern_rules,
    space_of,
)
from atrium_knowledge.app.stores import (
    LiveRevision,
    Parsed,
    Progress,
    Purge,
    RequestTaken,
    StoredPassage,
    Upload,
    passage_of,
    point_of,
)
from atrium_knowledge.domain.collections import VectorSpace
from atrium_knowledge.domain.documents import (
    Document,
    Reader,
    Revision,
    RevisionState,
    SectionLabels,
    access_rule,
    check_headings,
    open_title,
    show,
)
from atrium_knowledge.domain.errors import (
    CollectionNotFound,
    DocumentNotFound,
    PassageNotFound,
)
from atrium_knowledge.domain.history import (
    DocumentVersion,
    LabelPeriod,
    LabelsThen,
    outline_of,
    sections_of_passage,
)
from atrium_shared.clock import Clock, Ids
from atrium_shared.database import Database
from atrium_shared.errors import AtriumError
from atrium_shared.operations import Operation, OperationStore

_COLLECTIONS = tables.collections
_DOCUMENTS = tables.documents
_REVISIONS = tables.revisions
_SECTIONS = tables.sections
_PASSAGES = tables.passages
_UPLOADS = tables.uploads
_PURGES = tables.purges
_PERIODS = tables.label_periods

_DEAD_UPLOAD = timedelta(days=1)
"""A file that another replica has been receiving for longer is not being received any more."""
_ROWS_PER_INSERT: Final = 500
_KEYS_PER_QUERY: Final = 500
_UPLOADER = Reader(manages=True, classes=frozenset(), may_read=lambda _: True)

_REVISION_ROWS = (
    sa.select(
        _REVISIONS,
        _DOCUMENTS.c.id.label("document_id"),
        _COLLECTIONS.c.id.label("collection_id"),
        _COLLECTIONS.c.tenant,
    )
    .join(_DOCUMENTS, _DOCUMENTS.c.uid == _REVISIONS.c.document_uid)
    .join(_COLLECTIONS, _COLLECTIONS.c.uid == _REVISIONS.c.collection_uid)
)
_PASSAGE_ROWS = sa.select(_PASSAGES, _SECTIONS.c.path).join(
    _SECTIONS,
    sa.and_(
        _SECTIONS.c.revision == _PASSAGES.c.revision, _SECTIONS.c.number == _PASSAGES.c.section
    ),
)


class SqlDocuments:
    """Implements ``stores.DocumentStore``.

    Args:
        database: The service's database.
        operations: Operations of uploads, in the same database.
        progress_message: Makes an operation's metadata of a document's name and its progress.
        document_message: Makes an operation's response of a document.
        clock: Tells the time.
        ids: Makes identifiers.
        replica: Stable name of this process, unique among its peers.
    """

    def __init__(
        self,
        database: Database,
        operations: OperationStore,
        *,
        progress_message: Callable[[str, Progress], Message],
        document_message: Callable[[Document], Message],
        clock: Clock,
        ids: Ids,
        replica: str,
    ) -> None:
        self._database = database
        self._operations = operations
        self._progress_message = progress_message
        self._document_message = document_message
        self._clock = clock
        self._ids = ids
        self._replica = replica

    async def begin_upload(self, revision_uid: str, folder: str) -> None:
        """Note that a file is being received."""
        async with self._database.write() as session:
            await session.execute(
                sa.insert(_UPLOADS).values(
                    revision_uid=revision_uid,
                    folder=folder,
                    replica=self._replica,
                    start_time=self._clock.now(),
                )
            )

    async def end_upload(self, revision_uid: str) -> None:
        """Forget the note."""
        async with self._database.write() as session:
            await session.execute(
                sa.delete(_UPLOADS).where(_UPLOADS.c.revision_uid == revision_uid)
            )

    async def interrupted_uploads(self) -> Sequence[tuple[str, str]]:
        """Return files whose receiving process has died."""
        query = sa.select(_UPLOADS.c.revision_uid, _UPLOADS.c.folder).where(
            sa.or_(
                _UPLOADS.c.replica == self._replica,
                _UPLOADS.c.start_time < self._clock.now() - _DEAD_UPLOAD,
            )
        )
        async with self._database.read() as session:
            return [(row.revision_uid, row.folder) for row in await session.execute(query)]

    async def operation_of_request(self, collection_uid: str, request_key: str) -> Operation | None:
        """Return the operation that an earlier upload with this request id got."""
        query = _REVISION_ROWS.where(
            _REVISIONS.c.collection_uid == collection_uid, _REVISIONS.c.request_key == request_key
        )
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            return None
        forget = sa.update(_REVISIONS).where(_REVISIONS.c.seq == row.seq).values(request_key=None)
        return await self._operations.of_request(row.operation_id, tenant=row.tenant, forget=forget)

    async def register(self, upload: Upload) -> tuple[Operation, int]:
        """Make an upload durable."""
        try:
            return await self._register(upload)
        except IntegrityError:
            if upload.request_key is not None:
                earlier = await self.operation_of_request(upload.collection.uid, upload.request_key)
                if earlier is not None:
                    raise RequestTaken(earlier) from None
            raise

    async def _register(self, upload: Upload) -> tuple[Operation, int]:
        collection, now = upload.collection, self._clock.now()
        async with self._database.write() as session:
            exists = await session.execute(
                sa.select(_COLLECTIONS.c.uid)
                .where(_COLLECTIONS.c.uid == collection.uid)
                .with_for_update()
            )
            if exists.one_or_none() is None:
                raise CollectionNotFound(collection.name)
            document = await self._document(session, collection.uid, upload.document_id)
            labels, section_labels = upload.labels, upload.section_labels
            if document is None:
                uid, version, shown = self._ids.new("d"), 1, None
                await session.execute(
                    sa.insert(_DOCUMENTS).values(
                        uid=uid,
                        collection_uid=collection.uid,
                        id=upload.document_id,
                        versions=1,
                    )
                )
            else:
                uid, version = document.uid, document.versions + 1
                shown = await self._revision(session, document.shown)
                keeps = upload.inherit_labels and not labels and not section_labels
                if shown is not None and keeps:
                    labels, section_labels = shown.labels, shown.section_labels
            operation_id = self._ids.new("op")
            operation = await self._operations.create(
                session,
                op_id=operation_id,
                tenant=collection.tenant,
                owner=upload.on_behalf_of or upload.actor,
                metadata=self._progress_message(
                    f"{collection.name}/documents/{upload.document_id}", Progress("PARSING")
                ),
            )
            result = await session.execute(
                sa.insert(_REVISIONS)
                .values(
                    uid=upload.revision_uid,
                    document_uid=uid,
                    collection_uid=collection.uid,
                    version=version,
                    state=RevisionState.PROCESSING,
                    title=upload.title,
                    filename=upload.filename,
                    labels=sorted(labels),
                    section_labels=_section_labels_to_json(section_labels),
                    size_bytes=upload.size_bytes,
                    media_type="",
                    language="und",
                    page_count=0,
                    passage_count=0,
                    class_counts={},
                    warnings=[],
                    error_reason="",
                    error_message="",
                    actor=upload.actor,
                    on_behalf_of=upload.on_behalf_of,
                    operation_id=operation_id,
                    request_key=upload.request_key,
                    content_hash=upload.content_hash,
                    text_kept=True,
                    encoder="",
                    dimensions=0,
                    indexed=False,
                    labels_pending=False,
                    create_time=now,
                    update_time=now,
                )
                .returning(_REVISIONS.c.seq)
            )
            seq = result.scalar_one()
            stands = shown is not None and shown.state is RevisionState.LIVE
            await session.execute(
                sa.update(_DOCUMENTS)
                .where(_DOCUMENTS.c.uid == uid)
                .values(versions=version, shown=_DOCUMENTS.c.shown if stands else seq)
            )
            await session.execute(
                sa.delete(_UPLOADS).where(_UPLOADS.c.revision_uid == upload.revision_uid)
            )
        return operation, seq

    async def shown(self, collection_uid: str, document_id: str) -> Revision | None:
        """Return the revision that stands for a document."""
        query = _REVISION_ROWS.where(
            _DOCUMENTS.c.collection_uid == collection_uid,
            _DOCUMENTS.c.id == document_id,
            _DOCUMENTS.c.shown == _REVISIONS.c.seq,
        )
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        return None if row is None else _to_revision(row)

    async def list_shown(self, collection_uid: str, after: str, limit: int) -> Sequence[Revision]:
        """Return the revision that stands for each document, in the order of ids."""
        query = (
            _REVISION_ROWS.where(
                _DOCUMENTS.c.collection_uid == collection_uid,
                _DOCUMENTS.c.id > after,
                _DOCUMENTS.c.shown == _REVISIONS.c.seq,
            )
            .order_by(_DOCUMENTS.c.id)
            .limit(limit)
        )
        async with self._database.read() as session:
            return [_to_revision(row) for row in await session.execute(query)]

    async def revision(self, seq: int) -> Revision | None:
        """Return a revision."""
        async with self._database.read() as session:
            return await self._revision(session, seq)

    async def revision_of_operation(self, operation_id: str) -> Revision | None:
        """Return the revision that an operation takes in."""
        query = _REVISION_ROWS.where(_REVISIONS.c.operation_id == operation_id)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        return None if row is None else _to_revision(row)

    async def unfinished(self) -> Sequence[Revision]:
        """Return every revision that is being processed."""
        query = _REVISION_ROWS.where(_REVISIONS.c.state == RevisionState.PROCESSING)
        async with self._database.read() as session:
            rows = await session.execute(query.order_by(_REVISIONS.c.seq))
            return [_to_revision(row) for row in rows]

    async def live(self, collection_uid: str) -> Mapping[int, LiveRevision]:
        """Return the searchable revisions of a collection."""
        columns = _REVISIONS.c
        query = _live(
            collection_uid,
            columns.seq,
            columns.passage_count,
            columns.encoder,
            columns.dimensions,
        )
        async with self._database.read() as session:
            rows = await session.execute(query.order_by(columns.seq))
            return {row.seq: LiveRevision(row.passage_count, space_of(row)) for row in rows}

    async def uploaders(self, collection_uid: str) -> Sequence[tuple[str, str | None]]:
        """Return who uploaded searchable documents."""
        query = _live(collection_uid, _REVISIONS.c.actor, _REVISIONS.c.on_behalf_of).distinct()
        async with self._database.read() as session:
            return [(row.actor, row.on_behalf_of) for row in await session.execute(query)]

    async def store_parsed(self, seq: int, parsed: Parsed) -> int | None:
        """Store what parsing found."""
        async with self._database.write() as session:
            revision = await self._revision(session, seq)
            if revision is None or revision.state is not RevisionState.PROCESSING:
                return None
            paths = list(dict.fromkeys(chunk.section_path for chunk in parsed.chunks))
            sections = {path: number for number, path in enumerate(paths)}
            rules = {path: revision.rule_of(path) for path in paths}
            classes = await intern_rules(session, revision.collection_uid, set(rules.values()))
            rows = [
                {
                    "revision": seq,
                    "ordinal": ordinal,
                    "section": sections[chunk.section_path],
                    "start": chunk.start,
                    "end": chunk.end,
                    "page": chunk.page,
                    "paragraph": chunk.paragraph,
                    "language": chunk.language,
                    "access_class": classes[rules[chunk.section_path]],
                    "text": text,
                }
                for ordinal, (chunk, text) in enumerate(
                    zip(parsed.chunks, parsed.texts, strict=True), 1
                )
            ]
            await self._remove_text(session, seq)
            headed = [
                {"revision": seq, "number": number, "path": list(path)}
                for path, number in sections.items()
            ]
            for table, content in ((_SECTIONS, headed), (_PASSAGES, rows)):
                for first in range(0, len(content), _ROWS_PER_INSERT):
                    await session.execute(
                        sa.insert(table), content[first : first + _ROWS_PER_INSERT]
                    )
            counts = Counter(row["access_class"] for row in rows)
            await self._change(
                session,
                seq,
                title=parsed.title,
                media_type=parsed.media_type,
                language=parsed.language,
                page_count=parsed.page_count,
                warnings=list(parsed.warnings),
                passage_count=len(rows),
                class_counts=_counts_to_json(counts),
                indexed=True,
            )
        return len(rows)

    async def passages(self, seq: int, first: int, count: int) -> Sequence[StoredPassage]:
        """Return passages of a revision from an ordinal on."""
        query = _passage_rows(seq, _PASSAGES.c.ordinal >= first).limit(count)
        async with self._database.read() as session:
            return [_to_passage(row) for row in await session.execute(query)]

    async def passages_by_point(
        self, points: AnyCollection[int]
    ) -> Mapping[int, tuple[StoredPassage, Revision]]:
        """Return the passages of searchable revisions."""
        wanted = sorted(passage_of(point) for point in points)
        found: dict[int, tuple[StoredPassage, Revision]] = {}
        async with self._database.read() as session:
            revisions: dict[int, Revision] = {}
            for part in _parts(sorted({seq for seq, _ in wanted})):
                rows = await session.execute(
                    _REVISION_ROWS.where(
                        _REVISIONS.c.seq.in_(part), _REVISIONS.c.state == RevisionState.LIVE
                    )
                )
                revisions |= {row.seq: _to_revision(row) for row in rows}
            for keys in _parts([key for key in wanted if key[0] in revisions]):
                chosen = sa.tuple_(_PASSAGES.c.revision, _PASSAGES.c.ordinal).in_(keys)
                for row in await session.execute(_PASSAGE_ROWS.where(chosen)):
                    passage = _to_passage(row)
                    found[passage.point] = (passage, revisions[row.revision])
        return found

    async def section(self, seq: int, path: tuple[str, ...]) -> Sequence[StoredPassage]:
        """Return the passages under exactly this heading path."""
        async with self._database.read() as session:
            paths = await self._sections(session, seq)
            if path not in paths:
                return []
            query = _passage_rows(seq, _PASSAGES.c.section == paths.index(path))
            return [_to_passage(row) for row in await session.execute(query)]

    async def passages_from(
        self, seq: int, start: int, classes: frozenset[int], limit: int
    ) -> Sequence[StoredPassage]:
        """Return passages of these classes that end after ``start``."""
        query = _passage_rows(
            seq, _PASSAGES.c.end > start, _PASSAGES.c.access_class.in_(sorted(classes))
        ).limit(limit)
        async with self._database.read() as session:
            return [_to_passage(row) for row in await session.execute(query)]

    async def hidden(self, collection_uid: str) -> frozenset[int]:
        """Return the revisions that may have points and are not searchable."""
        under_way = sa.select(_REVISIONS.c.seq).where(
            _REVISIONS.c.collection_uid == collection_uid,
            _REVISIONS.c.state != RevisionState.LIVE,
            _REVISIONS.c.indexed,
        )
        going = sa.select(_PURGES.c.revisions).where(_PURGES.c.collection_uid == collection_uid)
        async with self._database.read() as session:
            hidden = set((await session.execute(under_way)).scalars())
            for revisions in (await session.execute(going)).scalars():
                hidden.update(revisions)
        return frozenset(hidden)

    async def report(self, revision: Revision, progress: Progress) -> None:
        """Update the operation of an upload."""
        await self._operations.update(
            self._operations.name(revision.operation_id),
            self._progress_message(revision.document, progress),
        )

    async def publish(
        self, seq: int, space: VectorSpace | None, progress: Progress
    ) -> Sequence[Purge]:
        """Make a revision the searchable one."""
        purges: list[Purge] = []
        async with self._database.write() as session:
            revision = await self._revision(session, seq, lock=True)
            if revision is None or revision.state is not RevisionState.PROCESSING:
                return []
            # One time for what ends and what begins: no moment lies between.
            now = self._clock.now()
            # Labels may have changed since it was parsed, to a heading that it lacks.
            if revision.section_labels:
                paths = await self._sections(session, seq)
                check_headings(revision.document, revision.section_labels, chain(*paths))
            siblings = await session.execute(
                _REVISION_ROWS.where(
                    _REVISIONS.c.document_uid == revision.document_uid,
                    _REVISIONS.c.state == RevisionState.LIVE,
                )
            )
            before = [_to_revision(row) for row in siblings]
            overtaken = any(other.version > revision.version for other in before)
            for gone in [revision] if overtaken else before:
                purges.append(await self._supersede(session, gone, now))
            purges += await drop_old_texts(
                session,
                revision.collection_uid,
                await self._versions_kept(session, revision.collection_uid),
                revision.document_uid,
            )
            if not overtaken:
                await self._change(
                    session,
                    seq,
                    state=RevisionState.LIVE,
                    **_space_columns(space),
                )
                await self._begin_period(
                    session, seq, revision.labels, revision.section_labels, now
                )
                await session.execute(
                    sa.update(_DOCUMENTS)
                    .where(_DOCUMENTS.c.uid == revision.document_uid)
                    .values(shown=seq)
                )
            stands = before[0] if overtaken else await self._revision(session, seq)
            assert stands is not None
            name = self._operations.name(revision.operation_id)
            done = self._progress_message(revision.document, progress)
            response = self._document_message(show(stands, _UPLOADER))
            await self._operations.update(name, done, session=session)
            await self._operations.finish(name, response, session=session)
        return purges

    async def fail(
        self, seq: int, error: AtriumError, *, end_operation: bool = True
    ) -> Sequence[Purge]:
        """Mark a revision as failed."""
        async with self._database.write() as session:
            revision = await self._revision(session, seq, lock=True)
            if revision is None or revision.state is not RevisionState.PROCESSING:
                return []
            await self._change(
                session,
                seq,
                state=RevisionState.FAILED,
                error_reason=error.reason,
                error_message=error.message,
                passage_count=0,
                class_counts={},
                indexed=False,
                labels_pending=False,
                text_kept=False,
            )
            await self._remove_text(session, seq)
            if end_operation:
                name = self._operations.name(revision.operation_id)
                await self._operations.fail(name, error, session=session)
            return [await insert_purge(session, revision.collection_uid, [seq], [revision.folder])]

    async def set_labels(
        self,
        collection_uid: str,
        document_id: str,
        labels: frozenset[str],
        section_labels: tuple[SectionLabels, ...],
    ) -> tuple[Revision, Mapping[int, int]]:
        """Replace the labels of a document."""
        async with self._database.write() as session:
            document = await self._document(session, collection_uid, document_id)
            if document is None:
                raise DocumentNotFound(document_id)
            rows = await session.execute(
                _REVISION_ROWS.where(
                    _REVISIONS.c.document_uid == document.uid,
                    _REVISIONS.c.state.in_([RevisionState.PROCESSING, RevisionState.LIVE])
                    | (_REVISIONS.c.seq == document.shown),
                )
            )
            revisions = [_to_revision(row) for row in rows]
            stands = next(one for one in revisions if one.seq == document.shown)
            paths = await self._sections(session, stands.seq)
            if paths:
                check_headings(stands.document, section_labels, chain(*paths))
            points: dict[int, int] = {}
            now = self._clock.now()
            for revision in revisions:
                changed = (revision.labels, revision.section_labels) != (labels, section_labels)
                if revision.state is RevisionState.LIVE and changed:
                    await self._end_period(session, revision, now)
                    await self._begin_period(session, revision.seq, labels, section_labels, now)
                await self._change(
                    session,
                    revision.seq,
                    title=open_title(revision.title, revision.filename, section_labels),
                    labels=sorted(labels),
                    section_labels=_section_labels_to_json(section_labels),
                )
                points |= await self._classify(session, revision, labels, section_labels)
            after = await self._revision(session, stands.seq)
            assert after is not None
        return after, points

    async def labels_applied(self, collection_uid: str, document_id: str) -> None:
        """Note that the index has the document's access classes."""
        async with self._database.write() as session:
            document = await self._document(session, collection_uid, document_id)
            if document is not None:
                await session.execute(
                    sa.update(_REVISIONS)
                    .where(_REVISIONS.c.document_uid == document.uid)
                    .values(labels_pending=False)
                )

    async def pending_labels(self) -> Mapping[str, Mapping[str, Mapping[int, int]]]:
        """Return changes that a crash kept from the index."""
        pending: dict[str, dict[str, dict[int, int]]] = {}
        async with self._database.read() as session:
            rows = await session.execute(_REVISION_ROWS.where(_REVISIONS.c.labels_pending))
            for row in rows.all():
                classes = pending.setdefault(row.collection_uid, {}).setdefault(row.document_id, {})
                points = await session.execute(
                    sa.select(_PASSAGES.c.ordinal, _PASSAGES.c.access_class).where(
                        _PASSAGES.c.revision == row.seq
                    )
                )
                for point in points:
                    classes[point_of(row.seq, point.ordinal)] = point.access_class
        return pending

    async def delete(self, collection_uid: str, document_id: str) -> tuple[Purge, Sequence[str]]:
        """Remove a document's records, and the answers that cite it."""
        cited = tables.answer_documents
        async with self._database.write() as session:
            document = await self._document(session, collection_uid, document_id)
            if document is None:
                raise DocumentNotFound(document_id)
            rows = await session.execute(
                _REVISION_ROWS.where(_REVISIONS.c.document_uid == document.uid)
            )
            revisions = [_to_revision(row) for row in rows]
            under_way = [
                one.operation_id for one in revisions if one.state is RevisionState.PROCESSING
            ]
            for operation_id in under_way:
                await self._operations.fail(
                    self._operations.name(operation_id),
                    DocumentNotFound(revisions[0].document),
                    session=session,
                )
            answers = sa.select(cited.c.tenant, cited.c.answer_id).where(
                cited.c.collection_uid == collection_uid, cited.c.document_id == document_id
            )
            await session.execute(
                sa.delete(tables.answers).where(
                    sa.tuple_(tables.answers.c.tenant, tables.answers.c.id).in_(answers)
                )
            )
            purge = await insert_purge(
                session,
                collection_uid,
                [one.seq for one in revisions],
                [one.folder for one in revisions],
            )
            await session.execute(sa.delete(_DOCUMENTS).where(_DOCUMENTS.c.uid == document.uid))
        return purge, under_way

    async def versions(
        self, collection_uid: str, document_id: str, before: int | None, limit: int
    ) -> Sequence[DocumentVersion]:
        """Return the versions of a document, newest first."""
        query = _REVISION_ROWS.where(
            _DOCUMENTS.c.collection_uid == collection_uid, _DOCUMENTS.c.id == document_id
        )
        if before is not None:
            query = query.where(_REVISIONS.c.version < before)
        query = query.order_by(_REVISIONS.c.version.desc()).limit(limit)
        async with self._database.read() as session:
            revisions = [_to_revision(row) for row in await session.execute(query)]
            periods: dict[int, list[LabelPeriod]] = {one.seq: [] for one in revisions}
            for part in _parts(sorted(periods)):
                rows = await session.execute(
                    sa.select(_PERIODS).where(_PERIODS.c.revision.in_(part)).order_by(_PERIODS.c.id)
                )
                for row in rows:
                    periods[row.revision].append(_to_period(row))
        return [DocumentVersion(one, tuple(periods[one.seq])) for one in revisions]

    async def labels_at(
        self, collection_uid: str, document_id: str, ordinal: int | None, time: datetime
    ) -> LabelsThen | None:
        """Return the labels in force at a time."""
        query = (
            sa.select(
                _PERIODS,
                _REVISIONS.c.version,
                _REVISIONS.c.passage_count,
                _COLLECTIONS.c.id.label("collection_id"),
            )
            .join(_REVISIONS, _REVISIONS.c.seq == _PERIODS.c.revision)
            .join(_DOCUMENTS, _DOCUMENTS.c.uid == _REVISIONS.c.document_uid)
            .join(_COLLECTIONS, _COLLECTIONS.c.uid == _REVISIONS.c.collection_uid)
            .where(
                _DOCUMENTS.c.collection_uid == collection_uid,
                _DOCUMENTS.c.id == document_id,
                _PERIODS.c.start_time <= time,
                _PERIODS.c.end_time.is_(None) | (_PERIODS.c.end_time > time),
            )
        )
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
            if row is None:
                return None
            period = _to_period(row)
            if ordinal is None:
                sections = tuple(one.labels for one in period.section_labels)
            elif ordinal > row.passage_count:
                raise PassageNotFound(
                    f"collections/{row.collection_id}/documents/{document_id}/passages/{ordinal}"
                )
            elif period.end_time is not None:
                sections = sections_of_passage(period.section_labels, row.outline, ordinal)
            else:
                passage = _passage_rows(row.revision, _PASSAGES.c.ordinal == ordinal)
                path = (await session.execute(passage)).one().path
                outline = outline_of(period.section_labels, [path])
                sections = sections_of_passage(period.section_labels, outline, 1)
        return LabelsThen(row.version, period.start_time, period.labels, sections)

    async def first_read_time(self, collection_uid: str, document_id: str) -> datetime | None:
        """Return since when a document can be read."""
        query = (
            sa.select(_PERIODS.c.start_time)
            .join(_REVISIONS, _REVISIONS.c.seq == _PERIODS.c.revision)
            .join(_DOCUMENTS, _DOCUMENTS.c.uid == _REVISIONS.c.document_uid)
            .where(_DOCUMENTS.c.collection_uid == collection_uid, _DOCUMENTS.c.id == document_id)
            .order_by(_PERIODS.c.start_time)
            .limit(1)
        )
        async with self._database.read() as session:
            return (await session.execute(query)).scalar_one_or_none()

    async def set_space(self, seq: int, space: VectorSpace | None) -> None:
        """Note in which space the vectors of a revision lie."""
        async with self._database.write() as session:
            await session.execute(
                sa.update(_REVISIONS).where(_REVISIONS.c.seq == seq).values(**_space_columns(space))
            )

    async def purges(self) -> Sequence[Purge]:
        """Return what is left to do."""
        async with self._database.read() as session:
            return [
                Purge(
                    row.id, row.collection_uid, tuple(row.revisions), tuple(row.folders), row.whole
                )
                for row in await session.execute(sa.select(_PURGES).order_by(_PURGES.c.id))
            ]

    async def purged(self, purge: Purge) -> None:
        """Forget what has been done."""
        async with self._database.write() as session:
            await session.execute(sa.delete(_PURGES).where(_PURGES.c.id == purge.id))

    async def _document(
        self, session: AsyncSession, collection_uid: str, document_id: str
    ) -> sa.Row[Any] | None:
        query = sa.select(_DOCUMENTS).where(
            _DOCUMENTS.c.collection_uid == collection_uid, _DOCUMENTS.c.id == document_id
        )
        return (await session.execute(query.with_for_update())).one_or_none()

    async def _revision(
        self, session: AsyncSession, seq: int | None, *, lock: bool = False
    ) -> Revision | None:
        query = _REVISION_ROWS.where(_REVISIONS.c.seq == seq)
        row = (await session.execute(query.with_for_update() if lock else query)).one_or_none()
        return None if row is None else _to_revision(row)

    async def _sections(self, session: AsyncSession, seq: int) -> list[tuple[str, ...]]:
        """Return the heading paths of a revision's passages, by number; none until it is parsed."""
        query = sa.select(_SECTIONS.c.path).where(_SECTIONS.c.revision == seq)
        rows = await session.execute(query.order_by(_SECTIONS.c.number))
        return [tuple(path) for path in rows.scalars()]

    async def _remove_text(self, session: AsyncSession, seq: int) -> None:
        for table in (_PASSAGES, _SECTIONS):
            await session.execute(sa.delete(table).where(table.c.revision == seq))

    async def _change(self, session: AsyncSession, seq: int, **values: object) -> None:
        await session.execute(
            sa.update(_REVISIONS)
            .where(_REVISIONS.c.seq == seq)
            .values(update_time=self._clock.now(), **values)
        )

    async def _supersede(self, session: AsyncSession, revision: Revision, now: datetime) -> Purge:
        """Retire a revision; its files stay for now, since citations name its version."""
        await self._end_period(session, revision, now)
        await self._change(
            session, revision.seq, state=RevisionState.SUPERSEDED, indexed=False, class_counts={}
        )
        await self._remove_text(session, revision.seq)
        return await insert_purge(session, revision.collection_uid, [revision.seq], [])

    async def _versions_kept(self, session: AsyncSession, collection_uid: str) -> int:
        query = sa.select(_COLLECTIONS.c.versions_kept).where(_COLLECTIONS.c.uid == collection_uid)
        kept: int = (await session.execute(query)).scalar_one()
        return kept

    async def _begin_period(
        self,
        session: AsyncSession,
        seq: int,
        labels: frozenset[str],
        section_labels: Sequence[SectionLabels],
        now: datetime,
    ) -> None:
        await session.execute(
            sa.insert(_PERIODS).values(
                revision=seq,
                labels=sorted(labels),
                section_labels=_section_labels_to_json(section_labels),
                outline=[],
                start_time=now,
            )
        )

    async def _end_period(self, session: AsyncSession, revision: Revision, now: datetime) -> None:
        """End what labels a revision has now, and remember which passages they covered."""
        outline: list[list[Any]] = []
        if revision.section_labels:
            rows = await session.execute(_passage_rows(revision.seq))
            runs = outline_of(revision.section_labels, [row.path for row in rows])
            outline = [[first, last, list(applied)] for first, last, applied in runs]
        await session.execute(
            sa.update(_PERIODS)
            .where(_PERIODS.c.revision == revision.seq, _PERIODS.c.end_time.is_(None))
            .values(end_time=now, outline=outline)
        )

    async def _classify(
        self,
        session: AsyncSession,
        revision: Revision,
        labels: frozenset[str],
        section_labels: Sequence[SectionLabels],
    ) -> dict[int, int]:
        """Give the passages of a revision the access classes that its labels mean now."""
        paths = await self._sections(session, revision.seq)
        rules = [access_rule(labels, section_labels, path) for path in paths]
        if not rules:
            return {}
        classes = await intern_rules(session, revision.collection_uid, set(rules))
        for rule, access_class in classes.items():
            members = [number for number, other in enumerate(rules) if other == rule]
            for part in _parts(members):
                await session.execute(
                    sa.update(_PASSAGES)
                    .where(_PASSAGES.c.revision == revision.seq, _PASSAGES.c.section.in_(part))
                    .values(access_class=access_class)
                )
        rows = await session.execute(
            sa.select(_PASSAGES.c.ordinal, _PASSAGES.c.access_class).where(
                _PASSAGES.c.revision == revision.seq
            )
        )
        points = {point_of(revision.seq, row.ordinal): row.access_class for row in rows}
        await self._change(
            session,
            revision.seq,
            class_counts=_counts_to_json(Counter(points.values())),
            labels_pending=True,
        )
        return points


def _live(collection_uid: str, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*columns).where(
        _REVISIONS.c.collection_uid == collection_uid, _REVISIONS.c.state == RevisionState.LIVE
    )


def _passage_rows(seq: int, *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    chosen = _PASSAGE_ROWS.where(_PASSAGES.c.revision == seq, *conditions)
    return chosen.order_by(_PASSAGES.c.ordinal)


def _to_passage(row: sa.Row[Any]) -> StoredPassage:
    return StoredPassage(
        revision=row.revision,
        ordinal=row.ordinal,
        section_path=tuple(row.path),
        text=row.text,
        start=row.start,
        end=row.end,
        page=row.page,
        paragraph=row.paragraph,
        language=row.language,
        access_class=row.access_class,
    )


def _to_revision(row: sa.Row[Any]) -> Revision:
    return Revision(
        seq=row.seq,
        uid=row.uid,
        tenant=row.tenant,
        collection_uid=row.collection_uid,
        collection_id=row.collection_id,
        document_uid=row.document_uid,
        document_id=row.document_id,
        version=row.version,
        state=RevisionState(row.state),
        title=row.title,
        filename=row.filename,
        labels=frozenset(row.labels),
        section_labels=_section_labels_from_json(row.section_labels),
        size_bytes=row.size_bytes,
        media_type=row.media_type,
        language=row.language,
        page_count=row.page_count,
        passage_count=row.passage_count,
        class_counts={int(key): count for key, count in row.class_counts.items()},
        warnings=tuple(row.warnings),
        error_reason=row.error_reason,
        error_message=row.error_message,
        actor=row.actor,
        on_behalf_of=row.on_behalf_of,
        operation_id=row.operation_id,
        content_hash=row.content_hash,
        text_kept=row.text_kept,
        space=space_of(row),
        create_time=row.create_time,
        update_time=row.update_time,
    )


def _to_period(row: sa.Row[Any]) -> LabelPeriod:
    return LabelPeriod(
        labels=frozenset(row.labels),
        section_labels=_section_labels_from_json(row.section_labels),
        start_time=row.start_time,
        end_time=row.end_time,
    )


def _space_columns(space: VectorSpace | None) -> dict[str, str | int]:
    if space is None:
        return {"encoder": "", "dimensions": 0}
    return {"encoder": space.encoder, "dimensions": space.dimensions}


def _section_labels_to_json(section_labels: Iterable[SectionLabels]) -> list[list[Any]]:
    return [[one.heading, sorted(one.labels)] for one in section_labels]


def _section_labels_from_json(stored: Iterable[Any]) -> tuple[SectionLabels, ...]:
    return tuple(SectionLabels(heading, frozenset(labels)) for heading, labels in stored)


def _counts_to_json(counts: Mapping[Any, int]) -> dict[str, int]:
    return {str(access_class): count for access_class, count in counts.items()}


def _parts(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Cut into parts, since a database takes a bounded number of parameters."""
    return (
        items[first : first + _KEYS_PER_QUERY] for first in range(0, len(items), _KEYS_PER_QUERY)
    )
