"""The templates that come with lessee work with their readers."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

TEMPLATES = Path(__file__).parents[2] / "templates"
HOSTILE = "p@ss/w:rd'\"#${HOME} ü\\"


def test_simbas_env_is_read_by_its_reader_as_it_was_meant(bao, sidecar):
    bao.put("testing/database/postgres", username="simba", password=HOSTILE, host="db", port=5432, database="simba")
    bao.put("testing/storage/minio", endpoint="s3:9000", bucket="docs", access_key="ak", secret_key=HOSTILE)
    bao.put("testing/api-keys/openai", api_key="sk-fake")
    sidecar.config["templates"] = str(TEMPLATES)
    sidecar.web["files"] = [{"template": "simba/app.env.j2"}]
    sidecar.write_config()
    done = sidecar.command("render", "--output", "out")
    assert done.returncode == 0, done.stderr
    values = dotenv_values(sidecar.disk / "out/web/app.env")
    url = urlsplit(values["DATABASE_URL"])
    assert (url.hostname, url.port, url.path, unquote(url.password)) == ("db", 5432, "/simba", HOSTILE)
    assert values["MINIO_SECRET_KEY"] == HOSTILE
    assert list(values) == [
        "DATABASE_URL",
        "MINIO_ENDPOINT",
        "MINIO_BUCKET",
        "MINIO_ACCESS_KEY",
        "MINIO_SECRET_KEY",
        "OPENAI_API_KEY",
    ]
