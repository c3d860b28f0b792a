# Generates the first passwords of this example's systems, in memory. Your own systems already have passwords.
set -eu
umask 0377
for name in postgres redis storage-access-key storage-secret-key; do
    [ -s "/run/first/$name" ] || head -c 24 /dev/urandom | base64 | tr -d '/+=\n' >"/run/first/$name"
done
