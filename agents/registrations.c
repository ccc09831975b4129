/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/registrations.h"

#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "util.h"

/* A refused request is tried again: a conflict may pass, a pool may grow. */
#define RETRY_MS 10000

const char *
registration_state_name(enum registration_state state)
{
    switch (state) {
    case REGISTRATION_WANTED:
        return "wanted";
    case REGISTRATION_SENT:
        return "sent";
    case REGISTRATION_REGISTERED:
        return "registered";
    case REGISTRATION_REFUSED:
        return "refused";
    case REGISTRATION_UNWANTED:
        return "unwanted";
    case REGISTRATION_REMOVING:
        return "removing";
    }
    return "?";
}

static uint32_t
hash_key(const struct local_service *key)
{
    return hash_bytes(key->prefix.id.bytes, sizeof key->prefix.id.bytes,
                      hash_3words(key->prefix.len, key->protocol,
                                  key->service_port));
}

static struct registration *
find(const struct registrations *r, const struct local_service *key)
{
    struct registration *reg;

    HMAP_FOR_EACH_WITH_HASH (reg, node, hash_key(key), &r->map) {
        if (!local_service_compare(&reg->service, key)) {
            return reg;
        }
    }
    return NULL;
}

const struct registration *
registrations_find(const struct registrations *r,
                   const struct local_service *key)
{
    return find(r, key);
}

const struct registration_end *
registrations_find_end(const struct registrations *r,
                       const struct local_service *key)
{
    return local_service_compare(&r->last_end.key, key) ? NULL : &r->last_end;
}

void
registrations_init(struct registrations *r)
{
    memset(&r->last_end, 0, sizeof r->last_end);
    hmap_init(&r->map);
    hmap_init(&r->requests);
    r->n_waiting = 0;
    r->next_request_id = 1;
}

/* 0: none is under way any more. */
static void
set_request(struct registrations *r, struct registration *reg, uint64_t id)
{
    if (reg->request_id) {
        hmap_remove(&r->requests, &reg->request_node);
    }
    reg->request_id = id;
    if (id) {
        hmap_insert(&r->requests, &reg->request_node, hash_uint64(id));
    }
}

static bool
is_waiting(enum registration_state state)
{
    return (state == REGISTRATION_WANTED || state == REGISTRATION_REFUSED
            || state == REGISTRATION_UNWANTED);
}

static void
set_state(struct registrations *r, struct registration *reg,
          enum registration_state state)
{
    r->n_waiting += is_waiting(state) - is_waiting(reg->state);
    reg->state = state;
}

static void
remove_registration(struct registrations *r, struct registration *reg)
{
    set_request(r, reg, 0);
    r->n_waiting -= is_waiting(reg->state);
    hmap_remove(&r->map, &reg->node);
    free(reg->service.name);
    free(reg->error);
    free(reg);
}

void
registrations_destroy(struct registrations *r)
{
    struct registration *reg;

    HMAP_FOR_EACH_SAFE (reg, node, &r->map) {
        remove_registration(r, reg);
    }
    hmap_destroy(&r->map);
    hmap_destroy(&r->requests);
}

static void
set_service(struct registration *reg, const struct local_service *service)
{
    char *name = xstrdup(service->name ? service->name : "");

    free(reg->service.name);
    reg->service = *service;
    reg->service.name = name;
}

static void
set_error(struct registration *reg, const char *error)
{
    char *copy = nullable_xstrdup(error);

    free(reg->error);
    reg->error = copy;
}

static struct registration *
insert(struct registrations *r, const struct local_service *service)
{
    struct registration *reg = xzalloc(sizeof *reg);

    set_service(reg, service);
    r->n_waiting++; /* REGISTRATION_WANTED. */
    hmap_insert(&r->map, &reg->node, hash_key(service));
    return reg;
}

/* To be sent from now on; answers to earlier requests no longer count. */
static void
change_mind(struct registrations *r, struct registration *reg,
            enum registration_state state)
{
    set_state(r, reg, state);
    set_request(r, reg, 0);
    reg->generation++;
    reg->confirmed = false;
    reg->retry_ms = INT64_MIN;
    set_error(reg, NULL);
}

void
registrations_want(struct registrations *r,
                   const struct local_service *service, bool wait)
{
    struct registration *reg = find(r, service);

    if (!reg) {
        reg = insert(r, service);
    } else {
        /* The local target is none of the controller's business. */
        bool same = (reg->state <= REGISTRATION_REGISTERED
                     && reg->service.weight == service->weight
                     && reg->service.priority == service->priority
                     && reg->service.capacity == service->capacity
                     && !strcmp(reg->service.name, service->name)
                     && (!wait || reg->confirmed
                         || (reg->wait
                             && reg->state != REGISTRATION_REGISTERED)));
        set_service(reg, service);
        if (same) {
            return;
        }
    }
    reg->wait = wait;
    change_mind(r, reg, REGISTRATION_WANTED);
}

void
registrations_unwant(struct registrations *r,
                     const struct local_service *service)
{
    struct registration *reg = find(r, service);

    if (!reg) {
        reg = insert(r, service);
    } else if (reg->state >= REGISTRATION_UNWANTED) {
        return;
    }
    change_mind(r, reg, REGISTRATION_UNWANTED);
}

void
registrations_set(struct registrations *r, const struct local_services *wanted)
{
    struct registration *reg;

    HMAP_FOR_EACH (reg, node, &r->map) {
        if (!local_services_find(wanted, &reg->service)
            && reg->state < REGISTRATION_UNWANTED) {
            change_mind(r, reg, REGISTRATION_UNWANTED);
        }
    }
    for (size_t i = 0; i < wanted->n; i++) {
        registrations_want(r, &wanted->items[i], false);
    }
}

void
registrations_settle(struct registrations *r)
{
    struct registration *reg, *next;

    HMAP_FOR_EACH_SAFE (reg, next, node, &r->map) {
        if (reg->state >= REGISTRATION_UNWANTED) {
            remove_registration(r, reg);
        } else {
            set_state(r, reg, REGISTRATION_REGISTERED);
            reg->confirmed = true;
        }
    }
}

void
registrations_reset(struct registrations *r)
{
    struct registration *reg;

    HMAP_FOR_EACH (reg, node, &r->map) {
        set_request(r, reg, 0);
        reg->retry_ms = INT64_MIN;
        reg->confirmed = false;
        set_state(r, reg, reg->state < REGISTRATION_UNWANTED
                              ? REGISTRATION_WANTED
                              : REGISTRATION_UNWANTED);
    }
}

static void
send_register(struct registration *reg, uint64_t id,
              void (*send)(const Salient__V1__Envelope *, void *aux),
              void *aux)
{
    const struct local_service *service = &reg->service;
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Register body = SALIENT__V1__REGISTER__INIT;
    Salient__V1__Prefix prefix = SALIENT__V1__PREFIX__INIT;

    prefix.id.data = CONST_CAST(uint8_t *, service->prefix.id.bytes);
    prefix.id.len = sizeof service->prefix.id.bytes;
    prefix.length = service->prefix.len;
    if (service->name[0]) {
        body.which_case = SALIENT__V1__REGISTER__WHICH_NAME;
        body.name = service->name;
    } else {
        body.which_case = SALIENT__V1__REGISTER__WHICH_PREFIX;
        body.prefix = &prefix;
    }
    body.protocol = service->protocol;
    body.service_port = service->service_port;
    body.weight = service->weight;
    body.priority = service->priority;
    body.capacity = service->capacity;
    body.wait = reg->wait;
    envelope.request_id = id;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_REGISTER;
    envelope.register_ = &body;
    send(&envelope, aux);
}

static void
send_unregister(struct registration *reg, uint64_t id,
                void (*send)(const Salient__V1__Envelope *, void *aux),
                void *aux)
{
    const struct local_service *service = &reg->service;
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Unregister body = SALIENT__V1__UNREGISTER__INIT;
    Salient__V1__Prefix prefix = SALIENT__V1__PREFIX__INIT;

    prefix.id.data = CONST_CAST(uint8_t *, service->prefix.id.bytes);
    prefix.id.len = sizeof service->prefix.id.bytes;
    prefix.length = service->prefix.len;
    if (service->name[0]) {
        body.which_case = SALIENT__V1__UNREGISTER__WHICH_NAME;
        body.name = service->name;
    } else {
        body.which_case = SALIENT__V1__UNREGISTER__WHICH_PREFIX;
        body.prefix = &prefix;
    }
    body.protocol = service->protocol;
    body.service_port = service->service_port;
    body.wait = true; /* We serve until no switch sends any more. */
    envelope.request_id = id;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_UNREGISTER;
    envelope.unregister = &body;
    send(&envelope, aux);
}

void
registrations_send(struct registrations *r, int64_t now,
                   void (*send)(const Salient__V1__Envelope *, void *aux),
                   void *aux)
{
    struct registration *reg;

    if (!r->n_waiting) {
        return;
    }
    HMAP_FOR_EACH (reg, node, &r->map) {
        if (!is_waiting(reg->state) || now < reg->retry_ms) {
            continue;
        }
        set_request(r, reg, r->next_request_id++);
        if (reg->state == REGISTRATION_UNWANTED) {
            set_state(r, reg, REGISTRATION_REMOVING);
            send_unregister(reg, reg->request_id, send, aux);
        } else {
            set_state(r, reg, REGISTRATION_SENT);
            send_register(reg, reg->request_id, send, aux);
        }
    }
}

int64_t
registrations_deadline(const struct registrations *r)
{
    const struct registration *reg;
    int64_t deadline = INT64_MAX;

    if (!r->n_waiting) {
        return INT64_MAX;
    }
    HMAP_FOR_EACH (reg, node, &r->map) {
        if (is_waiting(reg->state)) {
            deadline = MIN(deadline, reg->retry_ms);
        }
    }
    return deadline;
}

static void
reply_registered(struct registrations *r, struct registration *reg,
                 const Salient__V1__Registered *body)
{
    set_state(r, reg, REGISTRATION_REGISTERED);
    reg->confirmed = body->confirmed;
    reg->confirm_us = body->confirm_us;
    reg->service_v4 = body->service_v4;
    set_error(reg, NULL);
}

static void
set_end(struct registrations *r, const struct registration *reg,
        const Salient__V1__Unregistered *body)
{
    r->last_end = (struct registration_end) {
        .key.prefix = reg->service.prefix,
        .key.protocol = reg->service.protocol,
        .key.service_port = reg->service.service_port,
        .confirmed = body && body->confirmed,
        .confirm_us = body ? body->confirm_us : 0,
    };
}

/* True if the entry is to be removed. */
static bool
reply_error(struct registrations *r, struct registration *reg,
            const Salient__V1__Error *error, int64_t now)
{
    bool removing = reg->state == REGISTRATION_REMOVING;

    set_error(reg, error->message && error->message[0]
                       ? error->message
                       : "the controller refused without a reason");
    if (error->code == SALIENT__V1__ERROR_CODE__ERROR_TIMEOUT) {
        /* It stays requested; only the confirmation is missing. */
        set_state(r, reg, REGISTRATION_REGISTERED);
        return removing;
    }
    if (removing && error->code == SALIENT__V1__ERROR_CODE__ERROR_NOT_FOUND) {
        return true;
    }
    set_state(r, reg,
              removing ? REGISTRATION_UNWANTED : REGISTRATION_REFUSED);
    reg->retry_ms = now + RETRY_MS;
    return false;
}

static struct registration *
find_request(struct registrations *r, uint64_t request_id)
{
    struct registration *reg;

    HMAP_FOR_EACH_WITH_HASH (reg, request_node, hash_uint64(request_id),
                             &r->requests) {
        if (reg->request_id == request_id) {
            return reg;
        }
    }
    return NULL;
}

bool
registrations_reply(struct registrations *r,
                    const Salient__V1__Envelope *envelope, int64_t now,
                    const struct registration **ret_registered)
{
    struct registration *reg = find_request(r, envelope->request_id);

    *ret_registered = NULL;
    if (!reg) {
        return false; /* To a request that was overtaken by another. */
    }
    if (envelope->body_case == SALIENT__V1__ENVELOPE__BODY_ERROR) {
        set_request(r, reg, 0);
        if (reply_error(r, reg, envelope->error, now)) {
            set_end(r, reg, NULL);
            remove_registration(r, reg);
        }
        return true;
    }
    if (envelope->body_case == SALIENT__V1__ENVELOPE__BODY_REGISTERED
        && reg->state == REGISTRATION_SENT) {
        set_request(r, reg, 0);
        reply_registered(r, reg, envelope->registered);
        *ret_registered = reg;
        return true;
    }
    if (envelope->body_case == SALIENT__V1__ENVELOPE__BODY_UNREGISTERED
        && reg->state == REGISTRATION_REMOVING) {
        set_end(r, reg, envelope->unregistered);
        remove_registration(r, reg);
        return true;
    }
    return false;
}

bool
registrations_settled(const struct registrations *r)
{
    const struct registration *reg;

    HMAP_FOR_EACH (reg, node, &r->map) {
        if (reg->state != REGISTRATION_REGISTERED
            && reg->state != REGISTRATION_REFUSED) {
            return false;
        }
    }
    return true;
}

static int
compare_registrations(const void *a_, const void *b_)
{
    const struct registration *a = *(const struct registration *const *) a_;
    const struct registration *b = *(const struct registration *const *) b_;
    int order = strcmp(a->service.name, b->service.name);
    return order ? order : local_service_compare(&a->service, &b->service);
}

const struct registration **
registrations_sorted(const struct registrations *r, size_t *ret_n)
{
    size_t n = 0;
    const struct registration **array
        = xmalloc((hmap_count(&r->map) + 1) * sizeof *array);
    const struct registration *reg;

    HMAP_FOR_EACH (reg, node, &r->map) {
        array[n++] = reg;
    }
    qsort(array, n, sizeof *array, compare_registrations);
    *ret_n = n;
    return array;
}
