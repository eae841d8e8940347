#!/bin/sh
# Installs, on Debian and as root, what the benchmark compares Demarc with where it is there: `bench/set-up.sh rabbitmq`.
# Nothing is started or configured on the machine: the benchmark runs a node of its own, with the plug-in
# rabbitmq_web_stomp enabled for it alone.
set -eu

if [ "${1:-}" != rabbitmq ]; then
  echo "Usage: bench/set-up.sh rabbitmq" >&2
  exit 2
fi

# Debian's way of saying that packages shall not start their services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi

apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends rabbitmq-server

if ! ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/rabbitmq_web_stomp-* > /dev/null 2>&1; then
  echo "This package of RabbitMQ has no rabbitmq_web_stomp." >&2
  exit 1
fi
