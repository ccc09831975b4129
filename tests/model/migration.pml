/* SPDX-License-Identifier: Apache-2.0 */
/* Two endpoints that migrate over a hostile network.
 *
 *        addresses 1..ADDRESSES             addresses ADDRESSES+1..2*ADDRESSES
 *      +------------+                                     +------------+
 *      | endpoint 0 |---------+------ network -----+------| endpoint 1 |
 *      +------------+         |                    |      +------------+
 *                        rendezvous             address 7
 *                 (endpoint service IDs)        (attacker)
 *
 * The network delivers in any order.  Everything else that goes wrong has a
 * budget, set on the command line of spin, so that the state space is finite:
 * MOVES0, MOVES1  address changes of each endpoint, the old address kept for
 *                 a while or lost at once; loss of all addresses is one too
 * LOSSES          messages lost without need (to a dead address: for free)
 * REPLAYS         messages delivered that stay to be delivered again
 * CRASHES         daemons that die and start again
 * EARLY           timers that fire although an answer is on its way
 * FORGERIES       messages without a valid MAC, all other fields right
 * RELAYS          messages carried on from or to the attacker's own address
 * LIES            messages of endpoint 0, rightly MACed, that claim address 7:
 *                 it would have the peer's traffic sent to somebody else
 *
 * At some moment ("quiet") faults end.  From then on timers fire only when
 * nothing else can happen.  Properties, all of them assertions:
 *
 * 1. An endpoint binds only a locator that its peer has held, has received a
 *    challenge at, and has answered from: no_proof.
 * 2. Bindings follow the order of the peer's moves: no_rollback.
 * 3. A forged message, and one delivered before, changes nothing: unmoved.
 * 4. When nothing can happen any more, both ends are ESTABLISHED and each
 *    sends to where the other is: no flow is lost, no deadlock.
 * 5. That is so after at most MAX_ROUNDS timers: no livelock. */

#ifndef ADDRESSES
#define ADDRESSES 2
#endif
#ifndef MAX_ROUNDS
#define MAX_ROUNDS 2
#endif
#ifndef LIES
#define LIES 0
#endif
#define ATTACKER 7 /* All bits set: lie() relies on it. */
#define FORGED 15 /* Challenge that the attacker made up. */
#define SLOTS 8

/* A message in one word: equal messages are one, and the set can be kept
 * sorted, so that orders of sending that make no difference are one state. */
#define pack(type, from, src, dst, alt, claimed, nonce, challenge, mac) \
    ((type) | (from) << 2 | (src) << 3 | (dst) << 6 | (alt) << 9 \
     | (claimed) << 12 | (nonce) << 15 | (challenge) << 19 | (mac) << 23 \
     | 1 << 25)
#define TYPE(m) ((m) & 3)
#define FROM(m) ((m) >> 2 & 1)
#define SRC(m) ((m) >> 3 & 7)
#define DST(m) ((m) >> 6 & 7)
#define ALT(m) ((m) >> 9 & 7)      /* RSYN: second destination.  Others: the
                                    * locator the challenge is good for. */
#define CLAIMED(m) ((m) >> 12 & 7) /* Locator the sender says it is at. */
#define NONCE(m) ((m) >> 15 & 15)
#define STAMP(m) ((m) >> 19 & 15)
#define MAC(m) ((m) >> 23 & 1)
#define OLD (1 << 24)              /* Delivered before. */
#define SET_SRC(m, a) (((m) & ~(7 << 3)) | (a) << 3)
#define SET_DST(m, a) (((m) & ~(7 << 6)) | (a) << 6)

#include "endpoint.pml"

int net[SLOTS];        /* Messages on their way; sorted, 0 = none. */
byte held[2];          /* Addresses of each endpoint, one bit each. */
byte registered[2];    /* Where the rendezvous sends. */
bit quiet;
byte rounds;           /* Timers fired since quiet. */
byte moves[2], losses, replays, crashes, early, forgeries, relays, lies;

/* What only the observer knows. */
byte proved[2];        /* Addresses from which each one answered challenges. */
byte order[2];         /* Move (nonce) of the peer that was bound last. */

/* Used within one step only. */
hidden int v_, w_, m_, event;
hidden byte k_, a_, i_, me, act;
hidden byte s_st, s_loc, s_peer, s_cand, s_txn, s_bound, s_known;

#define reaches(a, to) ((a) != 0 && (a) != ATTACKER && (held[to] >> (a) & 1))

inline put(message)
{
    v_ = message;
    tell_message(0, v_);
    k_ = 0;
    do
    :: k_ == SLOTS -> assert(false) /* Too few SLOTS. */
    :: k_ < SLOTS && net[k_] == v_ -> break
    :: k_ < SLOTS && net[k_] == 0 -> net[k_] = v_; break
    :: k_ < SLOTS && net[k_] > v_ ->
        w_ = net[k_]; net[k_] = v_; v_ = w_; k_++
    :: k_ < SLOTS && net[k_] != 0 && net[k_] < v_ -> k_++
    od;
    k_ = 0
}

inline take(i)
{
    m_ = net[i];
    tell_message(act, m_);
    k_ = i;
    do
    :: k_ == SLOTS - 1 -> net[k_] = 0; break
    :: k_ < SLOTS - 1 -> net[k_] = net[k_ + 1]; k_++
    od;
    k_ = 0
}

inline emit(type, me, src, dst, alt, claimed, nonce, challenge, mac)
{
    assert(nonce < 16 && challenge < 16);
    if
    :: type == M_DONE && challenge != FORGED ->
        proved[me] = proved[me] | 1 << loc[me]
    :: else
    fi;
    put(pack(type, me, src, dst, alt, claimed, nonce, challenge, mac))
}

inline bind(me, src, nonce)
{
    assert(nonce >= order[me]);                 /* no_rollback */
    order[me] = nonce
}

inline receive(me, m)
{
    s_st = st[me]; s_loc = loc[me]; s_peer = peer[me]; s_cand = cand[me];
    s_txn = txn[me]; s_bound = bound[me]; s_known = known[me];
    if
    :: TYPE(m) == M_RSYN ->
        on_rsyn(me, SRC(m), CLAIMED(m), NONCE(m), MAC(m), !(m & OLD))
    :: TYPE(m) == M_CHALLENGE ->
        on_challenge(me, SRC(m), ALT(m), NONCE(m), STAMP(m))
    :: TYPE(m) == M_DONE ->
        on_done(me, SRC(m), ALT(m), CLAIMED(m), NONCE(m), STAMP(m), MAC(m))
    :: TYPE(m) == M_BOUND ->
        on_bound(me, NONCE(m), MAC(m))
    fi;
    assert(peer[me] == s_peer ||                /* no_proof */
           peer[me] != ATTACKER && (proved[1 - me] >> peer[me] & 1));
    assert(peer_outstanding(me) == (cand[me] != 0));
    assert(!(m & OLD) && MAC(m) ||              /* unmoved */
           st[me] == s_st && loc[me] == s_loc && peer[me] == s_peer &&
           cand[me] == s_cand && txn[me] == s_txn && bound[me] == s_bound &&
           known[me] == s_known)
}

/* An RSYN goes to three places; one that arrives is enough. */
#ifdef MUTANT_NO_RENDEZVOUS
#define resolved(to) 0
#else
#define resolved(to) reaches(registered[to], to)
#endif
#define deliverable(m) \
    (reaches(DST(m), 1 - FROM(m)) \
     || TYPE(m) == M_RSYN && (reaches(ALT(m), 1 - FROM(m)) \
                              || resolved(1 - FROM(m))))

/* What can happen next. */
#define DELIVER 1
#define VANISH 2
#define LOSE 3
#define RELAY 4
#define MOVE 5
#define LOSE_ALL 6
#define REGAIN 7
#define REGISTER 8
#define CRASH 9
#define EARLY_TIMER 10
#define FORGE 11
#define QUIET 12
#define LIE 13
#define TIMERS 14

#define may_lose (!quiet && losses > 0)
#define may_relay(m) \
    (!quiet && relays > 0 && (SRC(m) != ATTACKER || DST(m) == ATTACKER))
#define may_lie(m) \
    (!quiet && lies > 0 && \
     (TYPE(m) == M_RSYN && FROM(m) == 0 || \
      TYPE(m) == M_CHALLENGE && FROM(m) == 1 && deliverable(m)))
#define may_move(me) (!quiet && moves[me] > 0 && loc[me] != 0)
#define may_regain(me) (loc[me] == 0)
#define may_register(me) (loc[me] != 0 && registered[me] != loc[me])
#define may_fire(me) \
    (!quiet && early > 0 && (own_outstanding(me) || peer_outstanding(me)))

inline choose_message()
{
    if
    :: net[0] != 0 -> i_ = 0
    :: net[1] != 0 -> i_ = 1
    :: net[2] != 0 -> i_ = 2
    :: net[3] != 0 -> i_ = 3
    :: net[4] != 0 -> i_ = 4
    :: net[5] != 0 -> i_ = 5
    :: net[6] != 0 -> i_ = 6
    :: net[7] != 0 -> i_ = 7
    fi;
    if
    :: deliverable(net[i_]) -> act = DELIVER
    :: !deliverable(net[i_]) -> act = VANISH
    :: deliverable(net[i_]) && may_lose -> act = LOSE
    :: may_relay(net[i_]) -> act = RELAY
    :: may_lie(net[i_]) -> act = LIE
    fi
}

inline choose()
{
    if
    :: net[0] != 0 -> choose_message()
    :: may_move(0) -> act = MOVE; me = 0
    :: may_move(1) -> act = MOVE; me = 1
    :: may_move(0) -> act = LOSE_ALL; me = 0
    :: may_move(1) -> act = LOSE_ALL; me = 1
    :: may_regain(0) -> act = REGAIN; me = 0
    :: may_regain(1) -> act = REGAIN; me = 1
    :: may_register(0) -> act = REGISTER; me = 0
    :: may_register(1) -> act = REGISTER; me = 1
    :: !quiet && crashes > 0 -> act = CRASH; me = 0
    :: !quiet && crashes > 0 -> act = CRASH; me = 1
    :: may_fire(0) -> act = EARLY_TIMER; me = 0
    :: may_fire(1) -> act = EARLY_TIMER; me = 1
    :: !quiet && forgeries > 0 -> act = FORGE; me = 0
    :: !quiet && forgeries > 0 -> act = FORGE; me = 1
    :: !quiet -> act = QUIET
    :: else -> act = TIMERS
    fi
}

/* Seen when a trail is replayed (spin -t -B); says what happened, then what
 * the endpoint concerned looks like: run-model.sh puts it into words. */
inline tell_event()
{
    printf("@event %d %d %d %d\n", act, me, a_, quiet)
}
inline tell_message(word, m)
{
    printf("@message %d %d %d %d %d %d %d %d %d %d %d\n", word, TYPE(m),
           FROM(m), SRC(m), DST(m), ALT(m), CLAIMED(m), NONCE(m), STAMP(m),
           MAC(m), (m & OLD) != 0)
}
inline tell_endpoint(who)
{
    printf("@endpoint %d %d %d %d %d %d %d %d %d\n", who, st[who], loc[who],
           peer[who], cand[who], txn[who], bound[who], held[who],
           registered[who])
}

inline deliver()
{
    if
    :: take(i_); event = m_
    :: !quiet && replays > 0 ->
        replays--;
        take(i_);
        event = m_ & ~OLD;
        put(event | OLD);
        event = m_
    fi;
    me = 1 - FROM(event);
    receive(me, event);
    event = 0
}

/* The attacker carries a message on from its own address, and back. */
inline relay()
{
    relays--;
    event = net[i_];
    if
    :: SRC(event) != ATTACKER -> put(SET_SRC(event, ATTACKER))
    :: DST(event) == ATTACKER -> put(SET_DST(event, loc[1 - FROM(event)]))
    fi;
    event = 0
}

/* Endpoint 0 announces the address of somebody else, or answers, as if from
 * there, a challenge that it got where it really is. */
inline lie()
{
    lies--;
    event = net[i_];
    if
    :: TYPE(event) == M_RSYN ->
        put(SET_SRC(event, ATTACKER) | ATTACKER << 12)
    :: TYPE(event) == M_CHALLENGE ->
        put(pack(M_DONE, 0, ATTACKER, SRC(event), ALT(event), ATTACKER,
                 NONCE(event), STAMP(event), 1))
    fi;
    event = 0
}

inline choose_address()
{
    if
    :: a_ = 1
    :: a_ = 2
#if ADDRESSES > 2
    :: a_ = 3
#endif
    fi;
    a_ = a_ + me * ADDRESSES
}

/* Another address is preferred; the old ones stay for a while, or do not. */
inline move()
{
    moves[me]--;
    choose_address();
    if
    :: held[me] = 1 << a_
    :: held[me] = held[me] | 1 << a_
    fi;
    if
#ifndef ANNOUNCE_AGAIN
    :: a_ == loc[me] -> skip
    :: a_ != loc[me] -> on_locator(me, a_)
#else
    :: on_locator(me, a_)
#endif
    fi
}

inline lose_all()
{
    moves[me]--;
    held[me] = 0;
    on_lost(me)
}

/* After that an address returns, not always the one that was lost. */
inline regain()
{
    choose_address();
    held[me] = 1 << a_;
    on_locator(me, a_)
}

/* To 'me', from whatever address; the nonce is right, as if overheard. */
inline forge()
{
    forgeries--;
    if
    :: a_ = ATTACKER
    :: a_ = 1 + (1 - me) * ADDRESSES
    fi;
    if
    :: event = pack(M_RSYN, 0, a_, loc[me], 0, a_, txn[1 - me], 0, 0)
    :: event = pack(M_CHALLENGE, 0, a_, loc[me], loc[me], 0, txn[me], FORGED,
                    0)
    :: event = pack(M_DONE, 0, a_, loc[me], a_, a_, txn[1 - me], FORGED, 0)
    :: event = pack(M_DONE, 0, a_, loc[me], a_, a_, txn[1 - me], stamp[me] - 1,
                    0)
    :: event = pack(M_BOUND, 0, a_, loc[me], 0, 0, txn[me], 0, 0)
    fi;
    put(event | (1 - me) << 2);
    event = 0
}

inline timer()
{
    if
    :: own_outstanding(me) -> on_timer(me)
    :: else
    fi;
    if
    :: peer_outstanding(me) -> on_expire(me)
    :: else
    fi
}

inline end_faults()
{
    quiet = 1;
    moves[0] = 0; moves[1] = 0;
    losses = 0; replays = 0; crashes = 0; early = 0; forgeries = 0; relays = 0;
    lies = 0
}

#define settled (st[0] == ESTABLISHED && st[1] == ESTABLISHED)

/* Nothing can happen but that timers fire. */
inline timers()
{
    if
    :: settled ->
        assert(peer[0] == loc[1] && peer[1] == loc[0]); /* not lost */
        goto end
    :: else ->
#ifndef LIVELOCK /* pan -l looks for cycles; a counter would hide them. */
        rounds++;
#endif
        assert(rounds <= MAX_ROUNDS);          /* no livelock */
#ifndef MUTANT_NO_RETRANSMIT
        me = 0;
        timer();
        me = 1;
        timer()
#endif
    fi
}

inline begin()
{
    moves[0] = MOVES0; moves[1] = MOVES1; losses = LOSSES;
    replays = REPLAYS; crashes = CRASHES; early = EARLY;
    forgeries = FORGERIES; relays = RELAYS; lies = LIES;
    loc[0] = 1; loc[1] = 1 + ADDRESSES;
    held[0] = 1 << loc[0]; held[1] = 1 << loc[1];
    registered[0] = loc[0]; registered[1] = loc[1];
    peer[0] = loc[1]; peer[1] = loc[0];
    txn[0] = 1; txn[1] = 1;
    stamp[0] = 1; stamp[1] = 1;
    base[0] = 1; base[1] = 1;
#ifdef INTRODUCED
    /* The introduction is behind us: more moves fit into the search. */
    st[0] = ESTABLISHED; st[1] = ESTABLISHED;
    known[0] = 1; known[1] = 1;
    key[0] = 1; key[1] = 1;
    proved[0] = 1 << loc[0]; proved[1] = 1 << loc[1]
#else
    st[0] = SYN_RCVD; st[1] = SYN_RCVD;
    me = 0;
    send_rsyn(me);
    me = 1;
    send_rsyn(me)
#endif
}

init {
    atomic { begin(); me = 0 }
    do
    :: atomic {
        choose();
        tell_event();
        if
        :: act == DELIVER -> deliver()
        :: act == VANISH -> take(i_)
        :: act == LOSE -> losses--; take(i_)
        :: act == RELAY -> relay()
        :: act == LIE -> lie()
        :: act == MOVE -> move()
        :: act == LOSE_ALL -> lose_all()
        :: act == REGAIN -> regain()
        :: act == REGISTER -> registered[me] = loc[me]
        :: act == CRASH -> crashes--; on_restart(me)
        :: act == EARLY_TIMER -> early--; timer()
        :: act == FORGE -> forge()
        :: act == QUIET -> end_faults()
        :: act == TIMERS -> timers()
        fi;
        tell_endpoint(0);
        tell_endpoint(1);
        act = 0; me = 0; i_ = 0; a_ = 0; m_ = 0
       }
    od;
end:
    skip
}
