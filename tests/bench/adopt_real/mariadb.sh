#!/bin/sh
# What MariaDB's official image does with its variables; also in the place of MySQL's.
set -eu
. /usr/local/lib/entrypoint.sh
case "${1:-}" in -*) set -- mariadbd "$@" ;; esac
case "${1:-}" in mariadbd|mysqld) ;; *) exec "$@" ;; esac
if [ "$(id -u)" = 0 ]; then
    for folder in /var/lib/mysql /run/mysqld; do
        install -d -o "${IDS%:*}" -g "${IDS#*:}" "$folder"
        chown -R "$IDS" "$folder"
    done
    exec setpriv --reuid "${IDS%:*}" --regid "${IDS#*:}" --init-groups "$0" "$@"
fi
for name in ROOT_PASSWORD PASSWORD USER DATABASE; do
    file_env "MYSQL_$name"; file_env "MARIADB_$name"
    eval "value=\${MARIADB_$name:-\${MYSQL_$name:-}}"
    export "SET_$name=$value"
done
small="--no-defaults --datadir=/var/lib/mysql --innodb-log-file-size=4M --innodb-data-file-path=ibdata1:12M:autoextend"
small="$small --innodb-flush-log-at-trx-commit=0 --skip-name-resolve --socket=/run/mysqld/mysqld.sock"
if [ ! -d /var/lib/mysql/mysql ]; then
    if [ -z "$SET_ROOT_PASSWORD" ]; then echo "error: the root password is not specified" >&2; exit 1; fi
    mariadb-install-db $small --auth-root-authentication-method=normal --skip-test-db >/dev/null
    mariadbd $small --skip-networking &
    until mariadb-admin --no-defaults -u root -S /run/mysqld/mysqld.sock ping >/dev/null 2>&1; do sleep 0.1; done
    {
        echo "SET SESSION sql_mode='NO_BACKSLASH_ESCAPES';"
        [ -z "$SET_DATABASE" ] || echo "CREATE DATABASE IF NOT EXISTS \`$SET_DATABASE\`;"
        if [ -n "$SET_USER" ]; then
            echo "CREATE USER '$SET_USER'@'%' IDENTIFIED BY '$SET_PASSWORD';"
            [ -z "$SET_DATABASE" ] || echo "GRANT ALL ON \`$SET_DATABASE\`.* TO '$SET_USER'@'%';"
        fi
        echo "CREATE USER 'root'@'%' IDENTIFIED BY '$SET_ROOT_PASSWORD'; GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
        echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$SET_ROOT_PASSWORD';"
        echo "SHUTDOWN;"
    } | mariadb --no-defaults -u root -S /run/mysqld/mysqld.sock
    wait
fi
shift
unset SET_ROOT_PASSWORD SET_PASSWORD SET_USER SET_DATABASE
# Options that this version does not have any more are ignored.
set -- $(for word; do case "$word" in --innodb-log-file-size*|--innodb-buffer*) ;; --*) printf ' --loose-%s' "${word#--}" ;; esac; done)
exec mariadbd $small --port=3306 "$@"
