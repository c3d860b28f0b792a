"""Documents: rows in PostgreSQL and contents in the object store, with one client each for the process."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO

import urllib3
from minio import Minio
from sqlalchemy import String, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from standin.settings import settings

engine = create_engine(settings.database, pool_size=4, max_overflow=4, pool_pre_ping=True)
sessions = sessionmaker(engine)
# No retries, unlike the default of five: failures must be visible.
minio = Minio(
    settings.minio_endpoint,
    access_key=settings.minio_access_key,
    secret_key=settings.minio_secret_key,
    secure=settings.minio_secure,
    http_client=urllib3.PoolManager(timeout=10.0, maxsize=8, retries=urllib3.Retry(0)),
)


class Base(DeclarativeBase):
    """The base of all tables."""


class Document(Base):
    """An uploaded document."""

    __tablename__ = "documents"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str]
    status: Mapped[str] = mapped_column(default="pending")
    words: Mapped[int] = mapped_column(default=0)


def make_tables() -> None:
    """Create missing tables, as Simba's init_db does. Workers that start concurrently wait for each other."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(5)"))
        Base.metadata.create_all(connection)


@contextmanager
def session() -> Iterator[Session]:
    """A session that is committed unless the block raises."""
    with sessions.begin() as opened:
        yield opened


def newest(count: int) -> list[Document]:
    with session() as opened:
        documents = list(opened.scalars(select(Document).order_by(Document.id.desc()).limit(count)))
        opened.expunge_all()
        return documents


def put(key: str, content: bytes) -> None:
    minio.put_object(settings.minio_bucket, key, BytesIO(content), len(content))


def get(key: str) -> bytes:
    answer = minio.get_object(settings.minio_bucket, key)
    try:
        with closing(answer):
            return answer.read()
    finally:
        answer.release_conn()
