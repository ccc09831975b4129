#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Loads each eBPF program; if the kernel refuses one, the end of what its
# verifier says.
#
#     load-programs.sh OBJECT
set -u
folder=$(mktemp -d)
trap 'umount "$folder" 2> /dev/null; rm -rf "$folder" "$log"' EXIT
log=$(mktemp)
mount -t bpf bpf "$folder"
if bpftool prog loadall "$1" "$folder/programs" > "$log" 2>&1; then
    for program in "$folder"/programs/*; do
        echo "  PASS    $(basename "$program") loads"
    done
    echo "programs: $(ls "$folder/programs" | wc -l) passed, 0 failed"
else
    tail -c 6000 "$log"
    echo "programs: 0 passed, 1 failed"
    exit 1
fi
