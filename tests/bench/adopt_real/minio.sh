#!/bin/sh
# A server of S3, SeaweedFS, with the variables and the port of MinIO.
set -eu
. /usr/local/lib/entrypoint.sh
case "${1:-}" in minio) shift ;; server|-*) ;; *) exec "$@" ;; esac
file_env MINIO_ROOT_USER; file_env MINIO_ROOT_PASSWORD
export AWS_ACCESS_KEY_ID="${MINIO_ROOT_USER:-minioadmin}" AWS_SECRET_ACCESS_KEY="${MINIO_ROOT_PASSWORD:-minioadmin}"
mkdir -p /weed
exec weed server -dir=/weed -ip=127.0.0.1 -ip.bind=0.0.0.0 -master.telemetry=false -volume.max=20 \
    -master.volumeSizeLimitMB=64 -filer=true -s3 -s3.port=9000 -s3.port.iceberg=0 -s3.port.lance=0 -master.port=9333
