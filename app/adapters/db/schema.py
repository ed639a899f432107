"""The schema's version: Alembic, driven from inside, so that an installed package can do it."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

import migrations
from app.adapters.db.engines import open_engine


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(next(iter(migrations.__path__))))
    # Alembic's configuration interpolates percent signs, which passwords may have.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def upgrade(url: str) -> None:
    """Bring the database to this version's schema; nothing happens when it is there already.

    One at a time: MariaDB has no transactional DDL, so two that run at once would trip over each other's tables.
    """
    command.upgrade(_config(url), "head")


def current(url: str) -> str | None:
    """The revision of the database, None when it has no schema yet."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
