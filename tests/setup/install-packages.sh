#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the packages of a list that are missing and says which.  No service
# of theirs is started: what runs, runs in namespaces of ours.
#
#     install-packages.sh [LIST]    default: packages.txt beside this script
set -eu
list=${1:-$(dirname "$0")/packages.txt}
missing=
for package in $(sed 's/#.*//' "$list"); do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "These Debian packages are missing:$missing" >&2
    echo "Install them, or run this as root." >&2
    exit 1
fi
echo "  DEPS    installing$missing"

# Debian starts a daemon as soon as it is installed, unless policy-rc.d says
# no.  A policy that is there already is left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
began=$(date +%s)
while sleep 10 > /dev/null 2>&1 && kill -0 $$ 2> /dev/null; do
    echo "  DEPS    $(grep -c '^Setting up' "$log") packages set up, $(($(date +%s) - began)) s"
done &
ticker=$!
status=0
{ apt-get update && apt-get install -y --no-install-recommends $missing; } \
    > "$log" 2>&1 || status=$?
kill "$ticker"
if [ $status != 0 ]; then
    tail -n 30 "$log" >&2
    echo "Installing packages failed; the whole log is $log" >&2
    exit 1
fi
rm -f "$log"
