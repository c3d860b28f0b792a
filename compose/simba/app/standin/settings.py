"""All that is configured, read once when this module is imported, as Simba 0.5 does (`SIMBA=0.4`: as its fork does)."""

import os
from pathlib import Path

import yaml
from dotenv import load_dotenv
from pydantic import AliasChoices, BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL


class Settings(BaseSettings):
    """What 0.5 reads from its environment, and else from `.env`: an empty variable of the environment wins too."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", case_sensitive=False, extra="ignore")

    database_url: str = "postgresql://nobody@localhost:5432/simba"
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
        """What SQLAlchemy connects to."""
        return self.database_url.replace("postgresql://", "postgresql+psycopg://", 1)


class Postgres(BaseSettings):
    """The fork's. Without a prefix: where the file has no `user`, it takes USER from the environment."""

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
    """What 0.4 reads: `config.yaml`, which has to be there and wins over the environment; the rest as 0.5 does."""

    def __init__(self) -> None:
        load_dotenv(".env")
        said = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
        own = {key: value for key, value in said["postgres"].items() if key in Postgres.model_fields}
        self._postgres = Postgres(**own)
        storage, celery = Storage(**said["storage"]), said["celery"]
        self.celery_broker_url: str = celery["broker_url"]
        self.celery_result_backend: str = celery["result_backend"]
        self.minio_endpoint: str = storage.minio_endpoint
        self.minio_access_key: str = storage.minio_access_key
        self.minio_secret_key: str = storage.minio_secret_key
        self.minio_bucket: str = storage.minio_bucket
        self.minio_secure: bool = storage.minio_secure

    @property
    def database(self) -> str | URL:
        """What SQLAlchemy connects to."""
        pg = self._postgres
        return URL.create("postgresql+psycopg", pg.user, pg.password, pg.host, pg.port, pg.db)


# Langchain looks for its keys in the process's environment alone. It does not overrule what is there.
load_dotenv(".env")
settings: Settings | Fork = Fork() if os.environ.get("SIMBA") == "0.4" else Settings()
