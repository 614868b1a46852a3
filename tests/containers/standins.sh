#!/usr/bin/env bash
# Images in place of postgres:17 and nginx:1.29 where no registry of images is to be had: Debian's own packages, with the
# official images' users, folders and variables as far as compose.yaml uses them. Needs mmdebstrap, and the engine of DOCKER_HOST.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mirror=$(grep -h '^URIs' /etc/apt/sources.list.d/*.sources | head -n 1 | awk '{print $2}')
cat >"$work/docker-entrypoint.sh" <<'SH'
#!/bin/sh
set -e
PATH=/usr/lib/postgresql/15/bin:$PATH
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -D "$PGDATA" -U "$POSTGRES_USER" -A "$POSTGRES_HOST_AUTH_METHOD" -E UTF8 --locale=C.UTF-8 >/dev/null
  pg_ctl -D "$PGDATA" -w -s -o "-c listen_addresses=''" start
  createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -D "$PGDATA" -w -s stop
fi
exec "$@"
SH
chmod 755 "$work/docker-entrypoint.sh"
mmdebstrap --quiet --variant=minbase --include=postgresql-15,nginx-core,libnginx-mod-stream,curl,ca-certificates \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --essential-hook='echo postgres:x:999:999::/var/lib/postgresql:/bin/sh >>"$1/etc/passwd"; echo postgres:x:999: >>"$1/etc/group"' \
  --customize-hook='chroot "$1" rm -rf /var/lib/postgresql/15 /etc/postgresql/15' \
  --customize-hook='chroot "$1" install -d -o 999 -g 999 -m 0700 /var/lib/postgresql/data' \
  --customize-hook='chroot "$1" install -d -o 999 -g 999 -m 3777 /run/postgresql' \
  --customize-hook="copy-in $work/docker-entrypoint.sh /usr/local/bin" \
  bookworm "$work/services.tar" "$mirror"
docker import --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'CMD ["postgres"]' \
  --change 'ENV PGDATA=/var/lib/postgresql/data' "$work/services.tar" postgres:17 >/dev/null
docker import --change 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin' --change 'CMD ["nginx", "-g", "daemon off;"]' "$work/services.tar" nginx:1.29 >/dev/null
