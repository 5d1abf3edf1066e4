"""Store what somebody thinks of an answer they got."""

from __future__ import annotations

from atrium_knowledge.app.answer_log import RecentAnswers
from atrium_knowledge.app.refused_evenly import refused_evenly
from atrium_knowledge.app.stores import AnswerStore
from atrium_knowledge.domain.answers import Feedback, Rating
from atrium_knowledge.domain.errors import AnswerNotFound
from atrium_knowledge.domain.evaluations import question_hash
from atrium_knowledge.domain.names import answer_id
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock, Ids
from atrium_shared.principal import Principal


class GiveFeedback:
    """The use case.

    Of an answer that did not help the words are stored too, where the collection keeps questions.
    """

    def __init__(
        self,
        answers: AnswerStore,
        recent: RecentAnswers,
        audit: AuditTrail,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._answers = answers
        self._recent = recent
        self._audit = audit
        self._clock = clock
        self._ids = ids

    async def __call__(
        self, principal: Principal, answer: str, rating: Rating, comment: str
    ) -> Feedback:
        """Store feedback on an answer.

        Args:
            principal: Who got the answer.
            answer: Its name, "answers/a81c".
            rating: Thumb up or down.
            comment: What was wrong or right, in words; may be empty.

        Raises:
            AnswerNotFound: There is none, it is somebody else's, or its document was deleted.
        """
        async with self._audit.call(principal, "GiveFeedback", answer):
            async with refused_evenly():
                record = await self._answers.get(principal.tenant, answer_id(answer))
                if record.subject != principal.subject:
                    raise AnswerNotFound(answer)
            exchange = self._recent.exchange(record.tenant, record.id)
            hashed = question_hash(record.collection_uid, exchange.question) if exchange else ""
            feedback = Feedback(
                tenant=principal.tenant,
                id=self._ids.new("f"),
                answer_id=record.id,
                subject=principal.subject,
                rating=rating,
                comment=comment,
                exchange=exchange if rating is Rating.NOT_HELPFUL else None,
                create_time=self._clock.now(),
                question_hash=hashed,
            )
            await self._answers.save_feedback(feedback)
            return feedback
