"""The API: `gunicorn standin.api:app --worker-class asgi`, or `uvicorn standin.api:app`."""

import uuid
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException

from standin import store, tasks

store.make_tables()
app = FastAPI()
MAX_SECONDS = 60.0


@app.get("/api/v1/health")
def health() -> dict[str, str]:
    """As in Simba: without a database query."""
    return {"status": "healthy"}


@app.get("/api/v1/documents")
def documents(limit: int = 20) -> list[dict[str, Any]]:
    """The newest documents, read from the database."""
    return [_response(document) for document in store.newest(limit)]


@app.post("/api/v1/documents", status_code=201)
def upload(content: Annotated[str, Body(embed=True)], name: str = "a.txt", seconds: float = 0.0) -> dict[str, Any]:
    """Store a document, and queue a job that reads it."""
    key = uuid.uuid4().hex
    store.put(key, content.encode())
    with store.session() as session:
        document = store.Document(id=key, name=name)
        session.add(document)
        session.flush()
        response = _response(document)
    tasks.ingest.delay(key, min(seconds, MAX_SECONDS))
    return response


@app.get("/api/v1/documents/{key}")
def document(key: str) -> dict[str, Any]:
    with store.session() as session:
        found = session.get(store.Document, key)
        if found is None:
            raise HTTPException(404)
        return _response(found)


@app.get("/api/v1/documents/{key}/content")
def content(key: str) -> dict[str, str]:
    return {"content": store.get(key).decode()}


def _response(document: store.Document) -> dict[str, Any]:
    return {"id": document.id, "name": document.name, "status": document.status, "words": document.words}
