# The passwords that the systems of this example begin with, made by chance and kept in memory. Yours have theirs already.
set -eu
umask 0377
for name in postgres redis storage-access-key storage-secret-key; do
    [ -s "/run/first/$name" ] || head -c 24 /dev/urandom | base64 | tr -d '/+=\n' >"/run/first/$name"
done
