# SPDX-License-Identifier: Apache-2.0
# Puts a trail of migration.pml into words: spin -t -B ... | awk -f trail.awk
BEGIN {
    split("delivered vanished lost relayed move lose-all regain register " \
          "crash early-timer forge quiet lie timers", act, " ")
    split("SYN_RCVD ESTABLISHED NOADDRESS RSYN_SENT RSYN_RCVD " \
          "RSYN_SENT_RCVD NOADDRESS_RSYN_RCVD", state, " ")
    split("RSYN CHALLENGE DONE BOUND", type, " ")
}
$1 == "@event" {
    if ($2 > 4) print "* " act[$2] ($2 < 12 ? " of " $3 : "")
}
$1 == "@message" {
    printf "  %-9s %-9s of %d, %d > %d", $2 ? act[$2] : "put", type[$3 + 1],
           $4, $5, $6
    if ($7) printf "/%d", $7
    if ($8) printf " claimed %d", $8
    printf " nonce %d", $9
    if ($10) printf " stamp %d", $10
    print ($11 ? "" : " no-MAC") ($12 ? " OLD" : "")
}
$1 == "@endpoint" {
    now = sprintf("%d: %-19s at %d, peer %d, candidate %d, nonce %d, " \
                  "bound by %d, held %d, registered %d", $2, state[$3], $4,
                  $5, $6, $7, $8, $9, $10)
    if (now != was[$2]) print "      " now
    was[$2] = now
}
/assertion|Error/ { print }
