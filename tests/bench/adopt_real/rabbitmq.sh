#!/bin/sh
# What RabbitMQ's official image does with its variables; the server itself reads RABBITMQ_DEFAULT_….
set -eu
case "${1:-}" in rabbitmq-server) ;; *) exec "$@" ;; esac
if [ "$(id -u)" = 0 ]; then
    for folder in /var/lib/rabbitmq /var/log/rabbitmq /etc/rabbitmq; do
        install -d -o "${IDS%:*}" -g "${IDS#*:}" "$folder"
        chown -R "$IDS" "$folder"
    done
    exec setpriv --reuid "${IDS%:*}" --regid "${IDS#*:}" --init-groups "$0" "$@"
fi
export HOME=/var/lib/rabbitmq RABBITMQ_LOGS=- RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none"
if [ -n "${RABBITMQ_ERLANG_COOKIE:-}" ]; then
    printf %s "$RABBITMQ_ERLANG_COOKIE" > "$HOME/.erlang.cookie"
    chmod 600 "$HOME/.erlang.cookie"
    unset RABBITMQ_ERLANG_COOKIE
fi
exec /usr/lib/rabbitmq/bin/rabbitmq-server
