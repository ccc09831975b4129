/* SPDX-License-Identifier: Apache-2.0 */
/* Every state of one endpoint times every event, one line of numbers each:
 *
 *   T <before> <event> <arguments> <after> <messages>
 *
 * Verifying this with printf compiled in (-DPRINTF) prints the lot; what it
 * means column by column is in tests/unit/test_migration_model.c, which reads
 * it.  Numbers stand for themselves, except: locators 1, 2 own; 3, 4 the
 * peer's; 7 the attacker's; nonce 2 the current move's; challenges below
 * 'base' come from before a restart, 3 and above were never made. */

#include "endpoint.pml"

#define E_LOCATOR 1
#define E_LOST 2
#define E_TIMER 3
#define E_EXPIRE 4
#define E_RESTART 5
#define E_RSYN 6
#define E_CHALLENGE 7
#define E_DONE 8
#define E_BOUND 9

hidden byte e_, a_, b_, c_, d_, f_, sent_;
hidden int out_[3];

inline emit(type, me, src, dst, alt, claimed, nonce, challenge, mac)
{
    out_[sent_] = type | dst << 3 | alt << 6 | claimed << 9 | nonce << 12 |
                  challenge << 16 | mac << 20;
    sent_++
}

inline bind(me, src, nonce)
{
    skip
}

inline choose_bit(x)
{
    if
    :: x = 0
    :: x = 1
    fi
}

inline choose_state()
{
    if
    :: st[0] = SYN_RCVD
    :: st[0] = ESTABLISHED
    :: st[0] = NOADDRESS
    :: st[0] = RSYN_SENT
    :: st[0] = RSYN_RCVD
    :: st[0] = RSYN_SENT_RCVD
    :: st[0] = NOADDRESS_RSYN_RCVD
    fi;
    if
    :: st[0] == NOADDRESS || st[0] == NOADDRESS_RSYN_RCVD -> loc[0] = 0
    :: else ->
        if
        :: loc[0] = 1
        :: loc[0] = 2
        fi
    fi;
    if
    :: peer[0] = 3
    :: peer[0] = 4
    fi;
    if
    :: peer_outstanding(0) ->
        if
        :: cand[0] = 3
        :: cand[0] = 4
        fi
    :: else
    fi;
    txn[0] = 2;
    stamp[0] = 3;
    if
    :: base[0] = 1; bound[0] = 0
    :: base[0] = 1; bound[0] = 1
    :: base[0] = 1; bound[0] = 2
    :: base[0] = 2; bound[0] = 0
    :: base[0] = 2; bound[0] = 2
    :: base[0] = 3; bound[0] = 0
    fi;
    choose_bit(known[0]);
    choose_bit(key[0])
}

inline choose_source(x)
{
    if
    :: x = 3
    :: x = 4
    :: x = 7
    fi
}

/* 'x' itself, or something else. */
inline choose_same(y, x)
{
    if
    :: y = x
    :: y = 5
    fi
}

inline choose_event()
{
    if
    :: e_ = E_LOCATOR; a_ = 1
    :: e_ = E_LOCATOR; a_ = 2
    :: loc[0] != 0 -> e_ = E_LOST
    :: e_ = E_TIMER
    :: e_ = E_EXPIRE
    :: e_ = E_RESTART
    :: e_ = E_RSYN -> choose_source(a_); choose_same(b_, a_); choose_bit(c_);
        choose_bit(d_)
    :: e_ = E_CHALLENGE -> choose_source(a_);
        if
        :: b_ = 1
        :: b_ = 2
        :: b_ = 7
        fi;
        if
        :: c_ = 2
        :: c_ = 1
        fi
    :: e_ = E_DONE -> choose_source(a_); choose_same(b_, a_);
        choose_same(c_, a_);
        if
        :: d_ = 1
        :: d_ = 2
        :: d_ = 3
        :: d_ = 15
        fi;
        choose_bit(f_)
    :: e_ = E_BOUND ->
        if
        :: a_ = 2
        :: a_ = 1
        fi;
        choose_bit(b_)
    fi
}

init {
    atomic {
        choose_state();
        choose_event();
        printf("T %d %d %d %d %d %d %d %d ", st[0], loc[0], peer[0], cand[0],
               bound[0], base[0], known[0], key[0]);
        printf("%d %d %d %d %d %d ", e_, a_, b_, c_, d_, f_);
        if
        :: e_ == E_LOCATOR -> on_locator(0, a_)
        :: e_ == E_LOST -> on_lost(0)
        :: e_ == E_TIMER -> on_timer(0)
        :: e_ == E_EXPIRE -> on_expire(0)
        :: e_ == E_RESTART -> on_restart(0)
        :: e_ == E_RSYN -> on_rsyn(0, a_, b_, 9, c_, d_)
        :: e_ == E_CHALLENGE -> on_challenge(0, a_, b_, c_, 6)
        :: e_ == E_DONE -> on_done(0, a_, b_, c_, 9, d_, f_)
        :: e_ == E_BOUND -> on_bound(0, a_, b_)
        fi;
        printf("%d %d %d %d %d %d %d %d %d ", st[0], loc[0], peer[0], cand[0],
               bound[0], txn[0] != 2, stamp[0], known[0], key[0]);
        printf("%d %d %d %d\n", sent_, out_[0], out_[1], out_[2])
    }
}
