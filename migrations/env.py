"""How Alembic runs here: online only, on the URL that app.adapters.db.schema hands over."""

from alembic import context
from sqlmodel import SQLModel

from app.adapters.db import tables  # noqa: F401  registers the tables
from app.adapters.db.engines import open_engine

#: an ALTER TABLE may take its time
ANSWER_SECONDS = 600


def run() -> None:
    """One connection, one transaction where the database has transactional DDL."""
    url = context.config.get_main_option("sqlalchemy.url")
    assert url is not None
    engine = open_engine(url, answer_seconds=ANSWER_SECONDS, pooled=False)
    try:
        with engine.connect() as connection:
            context.configure(
                connection=connection,
                target_metadata=SQLModel.metadata,
                render_as_batch=connection.dialect.name == "sqlite",
            )
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
    finally:
        engine.dispose()


run()
