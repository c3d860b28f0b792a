"""The worker's jobs: `celery --app standin.tasks worker`."""

import time

from celery import Celery
from celery.utils.log import get_task_logger

from standin import store
from standin.settings import settings

log = get_task_logger(__name__)
app = Celery("standin", broker=settings.celery_broker_url, backend=settings.celery_result_backend)
# As Celery's guide recommends for idempotent jobs: another worker gets the job of a killed one.
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)


@app.task(name="standin.ingest")
def ingest(key: str, seconds: float) -> int:
    """Read a document, and count its words; `seconds` simulates the parser's work."""
    words = len(store.get(key).split())
    with store.session() as session:
        session.get_one(store.Document, key).status = "parsing"
    time.sleep(seconds)
    with store.session() as session:
        document = session.get_one(store.Document, key)
        document.status, document.words = "ready", words
    log.info("done %s", key)
    return words
