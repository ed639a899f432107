"""The cluster's state: its database, and the schema in it. Alembic is imported where it is used: no daemon needs it."""

from importlib.metadata import version

from app.adapters.db.local_member import LocalMember
from app.adapters.db.schema_floor import require_fit
from app.adapters.db.store import SqlStore
from app.adapters.system.clock import SystemClock
from app.config import Config
from app.services.bootstrap_cloud import bootstrap_cloud


def build_store(config: Config) -> SqlStore:
    """The database, by the configured URLs in their order."""
    return SqlStore(config.database.urls)


def upgrade_database(config: Config) -> tuple[str, ...]:
    """Bring the schema as far as the version before can go on with it; what is left for `contract_database`."""
    from app.adapters.db import schema

    return schema.upgrade(config.database.urls[0])


def contract_database(config: Config) -> tuple[str, ...]:
    """Take away what only the version before used of the schema; Conflict while a node has another version."""
    from app.adapters.db import schema

    return schema.contract(config.database.urls[0], config.node.name)


def require_schema(config: Config) -> None:
    """SoftwareTooOld where this software is too old for the state."""
    require_fit(config.database.urls[0], version("holdfast"))


def build_database_check(config: Config) -> LocalMember:
    """This node's own member of the database: the one that is reached by its socket."""
    url = config.database.urls[0]
    return LocalMember(url if "unix_socket=" in url else None)


def first_tokens(config: Config) -> dict[str, str]:
    """The first project, an operator's and a customer's token: printed once, stored hashed."""
    store, now = build_store(config), SystemClock().utc()
    try:
        return store.run(lambda tx: bootstrap_cloud(tx, now))
    finally:
        store.close()
