"""The services work together as processes of their own."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from atrium.admin.v1 import admin_pb2, admin_service_pb2
from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2
from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_client import AtriumCallError, readable_errors
from tests.processes import NAMES, Processes, running_processes

COLLECTION = "collections/handbook"
PAY = b"# Pay\n\nThe salary band of grade 7 is 52,000 to 61,000 euros a year.\n"
QUESTION = "What is the salary band of grade 7?"


async def make_people(processes: Processes, admin_key: str) -> str:
    """Make lin, who may read pay, and the portal that asks for her; return its key."""
    async with processes.client("admin", admin_key) as admin:
        grant = admin_pb2.Grant(resource="labels/hr/pay", action="read")
        await admin.admin.CreateRole(
            admin_service_pb2.CreateRoleRequest(
                role_id="partner", role=admin_pb2.Role(grants=[grant])
            )
        )
        lin = admin_pb2.User(roles=["roles/member", "roles/partner"])
        await admin.admin.CreateUser(admin_service_pb2.CreateUserRequest(user_id="lin", user=lin))
        portal = admin_pb2.User(kind=admin_pb2.User.SERVICE, roles=["roles/service"])
        await admin.admin.CreateUser(
            admin_service_pb2.CreateUserRequest(user_id="portal", user=portal)
        )
        made = await admin.admin.CreateApiKey(
            admin_service_pb2.CreateApiKeyRequest(user="users/portal")
        )
        return made.secret


async def check_meeting(processes: Processes, portal_key: str) -> None:
    """Lin makes a meeting under her label; without a model no recording is taken."""
    async with (
        processes.client("meeting", portal_key, "lin") as lin,
        processes.client("meeting", portal_key) as portal,
    ):
        meeting = await lin.meetings.CreateMeeting(
            meeting_service_pb2.CreateMeetingRequest(
                meeting=meeting_pb2.Meeting(title="Pay round", labels=["hr/pay"])
            )
        )
        with pytest.raises(AtriumCallError) as caught:
            await lin.upload_recording(meeting.name, b"RIFF")
        assert caught.value.reason == "RECOGNITION_UNAVAILABLE"
        with pytest.raises(AtriumCallError) as caught, readable_errors():
            await portal.meetings.GetMeeting(
                meeting_service_pb2.GetMeetingRequest(name=meeting.name)
            )
        assert caught.value.reason == "MEETING_NOT_FOUND"


@pytest.mark.timeout(300)
async def test_a_document_is_uploaded_asked_about_and_hidden_by_a_revocation(
    tmp_path: Path,
) -> None:
    everything = Processes(tmp_path, names=(*NAMES, "meeting"))
    async with running_processes(everything) as processes:
        admin_key = await processes.bootstrap("acme")
        portal_key = await make_people(processes, admin_key)
        async with (
            processes.client("admin", admin_key) as admin,
            processes.client("knowledge", admin_key) as keeper,
            processes.client("knowledge", portal_key) as portal,
            processes.client("knowledge", portal_key, "lin") as lin,
        ):
            await keeper.knowledge.CreateCollection(
                knowledge_service_pb2.CreateCollectionRequest(
                    collection_id="handbook", collection=knowledge_pb2.Collection(display_name="H")
                )
            )
            operation = await portal.upload_document(
                COLLECTION, PAY, filename="pay.md", labels=["hr/pay"]
            )
            document = await portal.wait_for_document(operation)
            assert document.state == knowledge_pb2.Document.READY
            answer = await lin.answer(COLLECTION, QUESTION)
            assert answer.decision == knowledge_pb2.Answer.ANSWERED
            assert "52,000" in answer.text
            # No model runs, as knowledge heard from the gateway.
            assert "knowledge.answer" in answer.engine.degraded_reason

            await check_meeting(processes, portal_key)

            revoked = await admin.admin.Revoke(
                admin_service_pb2.RevokeRequest(
                    user_role={"user": "users/lin", "role": "roles/partner"}
                )
            )
            services = {replica.partition("@")[0] for replica in revoked.acknowledged}
            assert services == {"admin", "gateway", "knowledge", "meeting"}
            assert not revoked.lapsed
            answer = await lin.answer(COLLECTION, QUESTION)
            assert answer.decision == knowledge_pb2.Answer.NOT_FOUND

            await admin.admin.Revoke(admin_service_pb2.RevokeRequest(everything_of="users/lin"))
            with pytest.raises(AtriumCallError) as caught:
                await lin.answer(COLLECTION, QUESTION)
            assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
        # What was done in all three is in admin's log.
        async with processes.client("admin", admin_key) as admin:
            listed = await admin.admin.ListAuditEvents(admin_service_pb2.ListAuditEventsRequest())
        assert {"knowledge.Ask", "admin.Revoke"} <= {event.action for event in listed.events}
    for name in ("admin", "gateway", "knowledge", "meeting"):
        assert "Traceback" not in processes.log(name)
