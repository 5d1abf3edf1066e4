from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from atrium_meeting.adapters.tables import metadata
from atrium_meeting.testing_service import House, engine_of


def differences(url: str) -> list[object]:
    engine = engine_of(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "schema_version_meeting"}
        )
        found = compare_metadata(context, metadata)
    engine.dispose()
    # The shared package's migration makes this index; its table says nothing of it.
    return [one for one in found if "operations_by_owner" not in str(one)]


async def test_migrations_make_the_tables_that_the_code_uses(house: House):
    assert differences(house.settings.database_url) == []
