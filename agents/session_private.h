/* SPDX-License-Identifier: Apache-2.0 */
/* What controller_session.c (the session's life) and session_news.c (what the
 * controller tells: services, attachments, answers) share.  For nobody
 * else. */
#ifndef SALIENT_SESSION_PRIVATE_H
#define SALIENT_SESSION_PRIVATE_H 1

#include "agents/controller_session.h"

#define MAX_ATTACHMENTS 16 /* Locators of one endpoint. */

/* What was asked of the controller by Resolve. */
#define MAX_QUESTIONS 64
struct question {
    uint64_t request_id;
    bool answered;
    struct session_resolved answer;
};

/* The same by Identify. */
#define MAX_DOUBTS 64
struct doubt {
    uint64_t request_id;
    bool answered;
    struct session_identified answer;
};

struct controller_session {
    struct session_config config; /* Strings are owned. */
    const struct session_ops *ops;
    void *aux;

    enum session_state state;
    size_t endpoint;         /* In use, or next. */
    int64_t deadline_ms;     /* Of BACKOFF, CONNECTING, HELLO, PROOF. */
    unsigned int backoff_ms; /* Next one, before jitter. */
    uint32_t random;         /* Of the jitter. */
    unsigned int welcomes;
    char *error;             /* Why the last attempt or session ended. */

    uint64_t handshake_id;   /* request_id of Hello or Proof. */
    uint8_t key[IDENTITY_SESSION_KEY_LEN];
    uint32_t identity_v4;    /* Remembered. */
    bool have_welcome;
    struct session_welcome welcome;
    int64_t last_received_ms, next_keepalive_ms;

    bool names_complete;
    struct names stale;      /* Not in the last complete ServiceTable, */
    int64_t stale_ms;        /* to be forgotten then. */
    struct in6_addr attached[MAX_ATTACHMENTS]; /* Locators. */
    size_t n_attached;
    struct registrations registrations;
    struct question questions[MAX_QUESTIONS];
    size_t n_questions;
    struct doubt doubts[MAX_DOUBTS];
    size_t n_doubts;
    unsigned int events;
};

/* Sends to the controller of session 's'. */
void session_send(const Salient__V1__Envelope *, void *s);

/* Parses an IPv6 address of 16 bytes, or none (::).  False for anything
 * else. */
bool session_parse_v6(const ProtobufCBinaryData *, struct in6_addr *);

/* Pushes of the controller; they change names, routes and attachments, and
 * raise events. */
void session_receive_service_table(struct controller_session *,
                                   const Salient__V1__ServiceTable *,
                                   int64_t now);
void session_receive_attachment(struct controller_session *,
                                const Salient__V1__Attachment *);
/* Forgets the services that the last complete table lacked. */
void session_forget_stale(struct controller_session *);

/* True if 'envelope' answers a question of controller_session_resolve(), or
 * controller_session_identify(). */
bool session_receive_answer(struct controller_session *,
                            const Salient__V1__Envelope *, int64_t now);
/* The connection is gone: nobody will be answered. */
void session_forget_questions(struct controller_session *);

#endif /* session_private.h */
