"""gunicorn reads this file: its master imports the libraries once, and its workers inherit them.

While SIGHUP replaces the workers, requests wait until the new ones have imported the app: with its libraries that takes
seconds, on a busy machine half a minute. Nothing here may read a setting or a secret: each new worker reads its own.
"""

# ruff: noqa: F401, INP001  # The imports are the purpose of this file, which is in no package.

import encodings.idna

import anyio._backends._asyncio
import celery.app.amqp
import celery.app.base
import celery.app.task
import celery.backends.redis
import celery.fixups.django
import celery.loaders.app
import celery.utils.log
import celery.worker.state
import celery.worker.worker
import dotenv
import fastapi.openapi.utils
import gunicorn.asgi.lifespan
import gunicorn.asgi.protocol
import gunicorn.workers.gasgi
import kombu.transport.redis
import minio
import psycopg
import pydantic_settings
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.orm
import urllib3
import yaml
