/* SPDX-License-Identifier: Apache-2.0 */
/* One endpoint of the migration protocol: what it does with each event.
 *
 * Two programs include this file and supply emit(), which sends a message:
 *
 *   migration.pml    two endpoints, a hostile network, the properties
 *   transitions.pml  every state times every event, printed one a line; the
 *                    unit test test_migration_model makes the C machine
 *                    (agents/migration.c) do the same and compares
 *
 * docs/migration.md explains the protocol.  MUTANT_* are mistakes on purpose:
 * `make check-model` demands that each one is found.
 *
 * A MAC that is right cannot be forged, a nonce is never used twice, a
 * challenge is a number that only its receiver learns.  "stamp" stands for a
 * challenge: its author numbers them, and can tell its own. */

#define SYN_RCVD 1
#define ESTABLISHED 2
#define NOADDRESS 3
#define RSYN_SENT 4
#define RSYN_RCVD 5
#define RSYN_SENT_RCVD 6
#define NOADDRESS_RSYN_RCVD 7

#define M_RSYN 0
#define M_CHALLENGE 1 /* RSYN-ACK with a challenge. */
#define M_DONE 2      /* RSYN-DONE. */
#define M_BOUND 3     /* RSYN-ACK that confirms. */

/* What a daemon knows; index 0 and 1 are the two endpoints. */
byte st[2];    /* State. */
byte loc[2];   /* Own locator; 0 = none.  Survives a crash (the kernel's). */
byte peer[2];  /* Where DATA goes.  Survives a crash (pinned maps). */
byte cand[2];  /* Locator that the peer announced, not proved yet; 0 = none. */
byte txn[2];   /* Nonce of the move under way, or of the last. */
byte bound[2]; /* Stamp of the challenge that bound 'peer'; 0 = none. */
byte stamp[2]; /* Stamp of the next challenge. */
byte base[2];  /* First stamp since the daemon started: a restarted daemon has
                * a new secret and recognises no older challenge. */
bit known[2];  /* The peer's sequence number is known, so that a replay is. */
bit key[2];    /* The peer's public key is at hand. */

hidden byte moved;

#define own_outstanding(me) \
    (st[me] == SYN_RCVD || st[me] == RSYN_SENT || st[me] == RSYN_SENT_RCVD)
#define peer_outstanding(me) \
    (st[me] == RSYN_RCVD || st[me] == RSYN_SENT_RCVD \
     || st[me] == NOADDRESS_RSYN_RCVD)

#ifdef MUTANT_NO_MAC
#define authentic(mac) 1
#else
#define authentic(mac) (mac)
#endif
#ifdef MUTANT_NO_SEQUENCE
#define recognised(fresh) 1
#else
#define recognised(fresh) (fresh)
#endif
#ifdef MUTANT_NO_NONCE
#define current(me, nonce) 1
#else
#define current(me, nonce) ((nonce) == txn[me])
#endif
#ifdef MUTANT_NO_OBSERVED
#define same_locator(a, b) 1
#else
#define same_locator(a, b) ((a) == (b))
#endif

/* To the peer's bound locator, to the one it announced, and to its endpoint
 * service ID, which the network resolves. */
inline send_rsyn(me)
{
    emit(M_RSYN, me, loc[me], peer[me], cand[me], loc[me], txn[me], 0, key[me])
}

inline set_peer_outstanding(me)
{
    if
    :: st[me] == ESTABLISHED -> st[me] = RSYN_RCVD
    :: st[me] == RSYN_SENT -> st[me] = RSYN_SENT_RCVD
    :: st[me] == NOADDRESS -> st[me] = NOADDRESS_RSYN_RCVD
    :: else
    fi
}

inline clear_peer_outstanding(me)
{
    cand[me] = 0;
    if
    :: st[me] == RSYN_RCVD -> st[me] = ESTABLISHED
    :: st[me] == RSYN_SENT_RCVD -> st[me] = RSYN_SENT
    :: st[me] == NOADDRESS_RSYN_RCVD -> st[me] = NOADDRESS
    :: else
    fi
}

/* The locator to use is 'l', not 0: another one, or the same announced again
 * (behind a NAT that forgot us, say). */
inline on_locator(me, l)
{
    loc[me] = l;
#ifdef MUTANT_SAME_NONCE
    if
    :: own_outstanding(me) -> skip
    :: else -> txn[me]++
    fi;
#else
    txn[me]++;
#endif
    if
    :: st[me] == ESTABLISHED || st[me] == NOADDRESS -> st[me] = RSYN_SENT
    :: st[me] == RSYN_RCVD || st[me] == NOADDRESS_RSYN_RCVD ->
        st[me] = RSYN_SENT_RCVD
    :: else
    fi;
    send_rsyn(me)
}

/* The last locator is gone. */
inline on_lost(me)
{
    loc[me] = 0;
    if
    :: peer_outstanding(me) -> st[me] = NOADDRESS_RSYN_RCVD
    :: else -> st[me] = NOADDRESS
    fi
}

inline on_timer(me)
{
    if
    :: own_outstanding(me) -> send_rsyn(me)
    :: else
    fi
}

inline on_expire(me)
{
    clear_peer_outstanding(me)
}

/* The daemon starts again: flows and locators are there, all else is not. */
inline on_restart(me)
{
    cand[me] = 0;
    bound[me] = 0;
    known[me] = 0;
    key[me] = 0;
#ifndef MUTANT_KEEP_SECRET
    base[me] = stamp[me];
#endif
    if
    :: loc[me] == 0 -> st[me] = NOADDRESS
    :: else ->
        txn[me]++;
        st[me] = SYN_RCVD;
        send_rsyn(me)
    fi
}

/* Answers without keeping anything, unless the RSYN is authentic and new. */
inline on_rsyn(me, src, claimed, nonce, mac, fresh)
{
    if
    :: loc[me] != 0 && same_locator(src, claimed) ->
        if
        :: authentic(mac) && key[me] && known[me] && recognised(fresh) ->
#ifdef MUTANT_NO_CHALLENGE
            peer[me] = src;
            emit(M_BOUND, me, loc[me], src, 0, 0, nonce, 0, key[me]);
#endif
            set_peer_outstanding(me);
            if
            :: peer_outstanding(me) -> cand[me] = src
            :: else
            fi
        :: else
        fi;
        emit(M_CHALLENGE, me, loc[me], src, src, 0, nonce, stamp[me], key[me]);
        stamp[me]++
    :: else
    fi
}

/* 'observed' is where the peer saw our RSYN come from; the challenge is good
 * for that locator only. */
inline on_challenge(me, src, observed, nonce, challenge)
{
    if
    :: own_outstanding(me) && current(me, nonce) &&
       same_locator(observed, loc[me]) ->
        key[me] = 1; /* Hashes to the endpoint ID, or it were not taken. */
        emit(M_DONE, me, loc[me], src, observed, loc[me], nonce, challenge, 1)
    :: else
    fi
}

#ifdef MUTANT_NO_STAMP_ORDER
#define newer(me, challenge) 1
#else
#define newer(me, challenge) (challenge > bound[me])
#endif
#ifdef MUTANT_NO_CHALLENGE_CHECK
#define own_challenge(me, challenge) 1
#else
#define own_challenge(me, challenge) \
    (challenge >= base[me] && challenge < stamp[me])
#endif
#ifdef MUTANT_UNBOUND_CHALLENGE
#define bound_to(src, observed) 1
#else
#define bound_to(src, observed) same_locator(src, observed)
#endif
#ifdef MUTANT_AGAIN_BINDS
#define again(me, challenge, src) 0
#define newest(me, challenge) (challenge >= bound[me])
#else
#define again(me, challenge, src) (challenge == bound[me] && src == peer[me])
#define newest(me, challenge) newer(me, challenge)
#endif

/* The only way to change 'peer'. */
inline on_done(me, src, observed, claimed, nonce, challenge, mac)
{
    if
    :: loc[me] != 0 && authentic(mac) && own_challenge(me, challenge) &&
       bound_to(src, observed) && same_locator(src, claimed) ->
        if
        :: again(me, challenge, src) ->
            /* Bound by it already; another part of a long list of flows. */
            emit(M_BOUND, me, loc[me], src, 0, 0, nonce, 0, 1)
        :: !again(me, challenge, src) && newest(me, challenge) ->
            bind_peer(me, src, nonce, challenge)
        :: else
        fi
    :: else
    fi
}

inline bind_peer(me, src, nonce, challenge)
{
    bind(me, src, nonce);
    moved = peer[me] != src;
    peer[me] = src;
    bound[me] = challenge;
    known[me] = 1;
    key[me] = 1;
    if
    :: cand[me] == src -> clear_peer_outstanding(me)
    :: else /* What it announced since is still to be proved. */
    fi;
#ifndef MUTANT_NO_BOUND
    emit(M_BOUND, me, loc[me], src, 0, 0, nonce, 0, 1);
#endif
    if
    :: st[me] == SYN_RCVD -> st[me] = RSYN_SENT
    :: else
    fi;
    /* Our own move need not wait for its timer now.  Only now: two ends that
     * answered each DONE with an RSYN would never stop. */
#ifdef MUTANT_CHATTER
    moved = 1;
#endif
    if
    :: moved && own_outstanding(me) -> send_rsyn(me)
    :: else
    fi;
    moved = 0
}

inline on_bound(me, nonce, mac)
{
    if
    :: authentic(mac) && own_outstanding(me) && current(me, nonce) ->
        if
        :: st[me] == RSYN_SENT_RCVD -> st[me] = RSYN_RCVD
        :: else -> st[me] = ESTABLISHED
        fi
    :: else
    fi
}
