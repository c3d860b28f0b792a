"""Settings, read once at the import of this module, as in Simba 0.5 (`SIMBA=0.4`: as in its fork)."""

import os
from pathlib import Path

import yaml
from dotenv import load_dotenv
from pydantic import AliasChoices, BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL


class Settings(BaseSettings):
    """0.5: from the environment, otherwise from `.env`. An empty variable of the environment overrides the file too."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", case_sensitive=False, extra="ignore")

    database_url: str = "postgresql://simba@localhost:5432/simba"
    celery_broker_url: str = "redis://localhost:6379/0"
    celery_result_backend: str = "redis://localhost:6379/0"
    minio_endpoint: str = "localhost:9000"
    minio_access_key: str = Field("", validation_alias=AliasChoices("MINIO_ACCESS_KEY", "MINIO_ROOT_USER"))
    minio_secret_key: str = Field("", validation_alias=AliasChoices("MINIO_SECRET_KEY", "MINIO_ROOT_PASSWORD"))
    minio_bucket: str = "simba"
    minio_secure: bool = False
    qdrant_host: str = "localhost"
    qdrant_api_key: str | None = None
    mistral_api_key: str = ""
    unstructured_api_key: str = ""

    @property
    def database(self) -> str | URL:
        """The URL for SQLAlchemy."""
        return self.database_url.replace("postgresql://", "postgresql+psycopg://", 1)


class Postgres(BaseSettings):
    """The fork's database. Without a prefix: if the file has no `user`, it reads USER from the environment."""

    host: str = "localhost"
    port: int = 5432
    db: str = ""
    user: str = ""
    password: str = ""


class Storage(BaseModel):
    """The fork's object store."""

    minio_endpoint: str
    minio_access_key: str
    minio_secret_key: str
    minio_bucket: str
    minio_secure: bool = False


class Fork:
    """0.4: from a required `config.yaml`, which overrides the environment; the rest as in 0.5."""

    def __init__(self) -> None:
        load_dotenv(".env")
        loaded = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
        own = {key: value for key, value in loaded["postgres"].items() if key in Postgres.model_fields}
        self._postgres = Postgres(**own)
        storage, celery = Storage(**loaded["storage"]), loaded["celery"]
        self.celery_broker_url: str = celery["broker_url"]
        self.celery_result_backend: str = celery["result_backend"]
        self.minio_endpoint: str = storage.minio_endpoint
        self.minio_access_key: str = storage.minio_access_key
        self.minio_secret_key: str = storage.minio_secret_key
        self.minio_bucket: str = storage.minio_bucket
        self.minio_secure: bool = storage.minio_secure

    @property
    def database(self) -> str | URL:
        """The URL for SQLAlchemy."""
        pg = self._postgres
        return URL.create("postgresql+psycopg", pg.user, pg.password, pg.host, pg.port, pg.db)


# Langchain reads its keys only from the process's environment. This does not override existing variables.
load_dotenv(".env")
settings: Settings | Fork = Fork() if os.environ.get("SIMBA") == "0.4" else Settings()
