/* SPDX-License-Identifier: Apache-2.0 */
/* One OpenFlow connection to a switch, as a state machine.
 *
 * Bytes from the switch go in, events come out through a callback, bytes for
 * the switch gather in 'output' for the owner to send.  It negotiates the
 * version (1.5 or 1.3), learns what the switch is and can do (its SAL fields
 * above all), keeps its ports up to date, answers and sends echoes, and gives
 * up a peer that is silent or talks nonsense.
 *
 *     HELLO -> FEATURES -> UP -> CLOSED
 *
 * Pure: 'now' is milliseconds of any clock that does not go back.  One
 * thread.  A callback may send, but not destroy the session. */
#ifndef CONTROLLER_SWITCH_SESSION_H
#define CONTROLLER_SWITCH_SESSION_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/openflow_codec.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/hmap.h"

/* A switch port, without the reserved ones. */
struct switch_port {
    struct hmap_node hmap_node; /* In struct switch_session 'ports'. */
    uint32_t number;
    uint8_t mac[6];
    char name[OFP_MAX_PORT_NAME_LEN + 1];
    bool up;          /* Administratively and physically. */
    uint32_t speed;   /* kbit/s; 0: unknown. */
};

enum switch_session_state {
    SWITCH_SESSION_HELLO,    /* Waits for the peer's HELLO. */
    SWITCH_SESSION_FEATURES, /* Asks what the switch is and can do. */
    SWITCH_SESSION_UP,
    SWITCH_SESSION_CLOSED,   /* Flush 'output', then drop the connection. */
};

enum switch_event_type {
    SWITCH_EVENT_UP,        /* Everything about the switch is known. */
    SWITCH_EVENT_PORT,      /* 'port' is new or has changed. */
    SWITCH_EVENT_PORT_GONE, /* 'port' is about to be forgotten. */
    SWITCH_EVENT_MESSAGE,   /* Any other message of a session that is up:
                             * packet-ins, replies, errors, by xid. */
    SWITCH_EVENT_ROLE,      /* 'role' of the session has changed. */
    SWITCH_EVENT_CLOSED,    /* Last event; 'reason' says why. */
};

struct switch_event {
    enum switch_event_type type;
    const struct switch_port *port;
    const struct openflow_message *message;
    const char *reason;
};

struct switch_session;
typedef void switch_event_cb(struct switch_session *,
                             const struct switch_event *, void *aux);

struct switch_session_config {
    long long echo_interval_ms;    /* Silence after which an echo is sent. */
    long long echo_timeout_ms;     /* Further silence that ends it. */
    long long handshake_timeout_ms;
    long long retry_ms;            /* A refused rule is tried again. */
    long long patience_ms;         /* A switch that works for us may be silent
                                    * for so long. */
    uint32_t max_ports;            /* Of one switch. */
    uint32_t max_rules;            /* Of ours, that it may claim to hold. */
    uint32_t max_malformed;        /* Messages, then it is disconnected. */
    uint32_t max_connections;      /* Of all switches. */
    uint16_t sal_port;             /* UDP, host byte order. */
    bool defer_tables;             /* The owner calls
                                    * switch_session_ask_tables(). */
    enum ofp12_controller_role role; /* OFPCR12_ROLE_EQUAL: do not ask. */
    uint64_t generation_id;          /* Of PRIMARY and SECONDARY. */
    bool insist;                     /* Where a switch knows of a younger one:
                                      * be younger still, do not yield. */
};
extern const struct switch_session_config switch_session_defaults;

struct switch_counters {
    uint64_t received, sent; /* Messages. */
    uint64_t malformed;      /* Could not be decoded. */
    uint64_t errors;         /* OFPT_ERROR received. */
    uint64_t packet_ins, packet_outs;
};

struct switch_session {
    /* For everybody to read. */
    enum switch_session_state state;
    uint8_t version;      /* Negotiated; 0 before. */
    uint64_t datapath_id; /* From FEATURES on, as the following. */
    unsigned int n_tables;
    bool sal;             /* Matches the SAL fields. */
    bool bundles;
    uint32_t max_meters, max_groups; /* 0: none. */
    char manufacturer[64], hardware[64], software[64];
    struct hmap ports;    /* Contains struct switch_port, by number. */
    struct switch_counters counters;
    long long connected_at, up_at;
    /* What we are to the switch; as a SECONDARY we may read, not write. */
    enum ofp12_controller_role role;
    uint64_t generation_seen; /* The largest it told; 0: none. */

    /* For the owner: the switch works for us and may be silent until then. */
    long long patience_until;
    /* For the owner: bytes to send, taken from the front.  Who appends messages
     * counts them. */
    struct ofpbuf output;

    /* Private. */
    struct switch_session_config config;
    switch_event_cb *event;
    void *aux;
    struct openflow_stream stream;
    uint32_t next_xid;
    struct {
        uint32_t features, ports, desc, sal, tables, groups, meters, role;
    } asked; /* xid of each question under way, 0 once answered. */
    bool tables_due; /* The table features are not asked for yet. */
    bool stale; /* Our role was refused; its generation is asked for. */
    long long last_received;
    bool echo_sent;
};

/* Starts a session: HELLO waits in 'output'. */
void switch_session_init(struct switch_session *,
                         const struct switch_session_config *,
                         switch_event_cb *, void *aux, long long now);
void switch_session_destroy(struct switch_session *);

/* Asks for the table features, if they are needed and that was deferred: the
 * answer costs the switch milliseconds, and switches may be one process. */
void switch_session_ask_tables(struct switch_session *);
static inline bool
switch_session_waits_for_tables(const struct switch_session *s)
{
    return s->state == SWITCH_SESSION_FEATURES && s->asked.tables;
}

/* Handles bytes from the switch. */
void switch_session_receive(struct switch_session *, const void *, size_t,
                            long long now);

/* Handles the passing of time; switch_session_wakeup() says when it must be
 * called at the latest. */
void switch_session_run(struct switch_session *, long long now);
long long switch_session_wakeup(const struct switch_session *);

/* Asks at once whether the switch still lives: silence from now on ends the
 * session after 'echo_timeout_ms'. */
void switch_session_probe(struct switch_session *, long long now);

/* Queues 'message', which it takes over, under a new xid, which it returns.
 * After CLOSED the message is dropped. */
uint32_t switch_session_send(struct switch_session *, struct ofpbuf *message);
/* Reserves an xid for a message that is built later. */
uint32_t switch_session_reserve_xid(struct switch_session *);
/* As switch_session_send() with the xid that the message already has. */
void switch_session_send_as_is(struct switch_session *, struct ofpbuf *);

/* Asks for another role, also in sessions to come of the same config.  A
 * switch that knows of a younger generation refuses: then we are SECONDARY. */
void switch_session_set_role(struct switch_session *,
                             enum ofp12_controller_role,
                             uint64_t generation_id);
/* "equal", "master", "slave"; false if 'name' is none of them. */
const char *switch_session_role_string(enum ofp12_controller_role);
bool switch_session_role_from_string(const char *name,
                                     enum ofp12_controller_role *ret_role);

/* Ends the session; 'reason' is a sentence for the log. */
void switch_session_close(struct switch_session *, const char *reason);

const struct switch_port *switch_session_port(const struct switch_session *,
                                              uint32_t number);
const char *switch_session_state_string(enum switch_session_state);
/* "1.5", "1.3", "?" */
const char *switch_session_version_string(const struct switch_session *);

#endif /* switch_session.h */
