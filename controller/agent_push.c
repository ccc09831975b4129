/* SPDX-License-Identifier: Apache-2.0 */
/* What the controller tells agents without being asked. */
#include "controller/agent_session.h"

#include <string.h>
#include "util.h"

/* Services in one message: a service takes at most some 1400 bytes, a frame
 * 1 MiB. */
#define SERVICES_PER_PUSH 500
#define PORTS_PER_SERVICE 32

static void
push(struct agent_session *s, Salient__V1__Envelope__BodyCase body_case,
     void *body)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;

    if (s->state == AGENT_SESSION_UP) {
        envelope.body_case = body_case;
        envelope.hello = body; /* Any member: all are pointers. */
        s->ops->send(s, &envelope, s->aux);
    }
}

static void
push_attachment(struct agent_session *s, const struct in6_addr *locator,
                const struct topology_attachment *at)
{
    Salient__V1__Attachment attachment = SALIENT__V1__ATTACHMENT__INIT;

    if (IN6_IS_ADDR_V4MAPPED(locator)) {
        attachment.locator_v4 = locator_get_v4(locator);
    } else {
        attachment.locator_v6.data = CONST_CAST(uint8_t *, locator->s6_addr);
        attachment.locator_v6.len = sizeof *locator;
    }
    if (at) {
        attachment.attached = true;
        attachment.datapath = at->dpid;
        attachment.port = at->port;
    }
    push(s, SALIENT__V1__ENVELOPE__BODY_ATTACHMENT, &attachment);
}

void
agent_session_push_attachment(struct agent_session *s,
                              const struct topology_attachment *at)
{
    push_attachment(s, &at->locator, at);
}

void
agent_session_push_detached(struct agent_session *s,
                            const struct in6_addr *locator)
{
    push_attachment(s, locator, NULL);
}

void
agent_session_push_probe_request(struct agent_session *s)
{
    Salient__V1__ProbeRequest request = SALIENT__V1__PROBE_REQUEST__INIT;

    push(s, SALIENT__V1__ENVELOPE__BODY_PROBE_REQUEST, &request);
}

/* A service in a message, and what it refers to. */
struct told_service {
    Salient__V1__Service service;
    Salient__V1__Prefix prefix;
    Salient__V1__ServicePort ports[PORTS_PER_SERVICE];
    Salient__V1__ServicePort *port_pointers[PORTS_PER_SERVICE];
    struct agent_hops hops;
    struct agent_hops_wire hops_wire;
};

/* A ServiceTable in the making. */
struct table {
    struct agent_session *session;
    bool complete;
    size_t n, n_removed, max;
    struct told_service *services; /* Owned; 'max' of each. */
    Salient__V1__Service **service_pointers;
    Salient__V1__Prefix *removed;
    Salient__V1__Prefix **removed_pointers;
};

static void
flush_table(struct table *table)
{
    Salient__V1__ServiceTable message = SALIENT__V1__SERVICE_TABLE__INIT;

    message.complete = table->complete;
    message.n_services = table->n;
    message.services = table->service_pointers;
    message.n_removed = table->n_removed;
    message.removed = table->removed_pointers;
    push(table->session, SALIENT__V1__ENVELOPE__BODY_SERVICE_TABLE, &message);
    table->n = table->n_removed = 0;
    table->complete = false; /* What follows adds to it. */
}

static void
put_prefix(Salient__V1__Prefix *wire, const struct service_prefix *prefix)
{
    salient__v1__prefix__init(wire);
    wire->id.data = CONST_CAST(uint8_t *, prefix->id.bytes);
    wire->id.len = sizeof prefix->id.bytes;
    wire->length = prefix->len;
}

size_t
agent_hops_encode(const struct agent_hops *hops, struct agent_hops_wire *wire)
{
    for (size_t i = 0; i < hops->n; i++) {
        const struct in6_addr *locator = &hops->hops[i].locator;
        bool v4 = IN6_IS_ADDR_V4MAPPED(locator);

        salient__v1__hop__init(&wire->hops[i]);
        wire->hops[i].locator.data
            = CONST_CAST(uint8_t *, &locator->s6_addr[v4 ? 12 : 0]);
        wire->hops[i].locator.len = v4 ? 4 : 16;
        wire->hops[i].weight = hops->hops[i].weight;
        wire->pointers[i] = &wire->hops[i];
    }
    return hops->n;
}

static void
add_port(struct told_service *told, const struct registry_instance *instance)
{
    size_t *n = &told->service.n_ports;

    for (size_t i = 0; i < *n; i++) {
        if (told->ports[i].protocol == instance->protocol
            && told->ports[i].port == instance->port) {
            return;
        }
    }
    if (*n < PORTS_PER_SERVICE) {
        Salient__V1__ServicePort *port = &told->ports[*n];
        salient__v1__service_port__init(port);
        port->protocol = instance->protocol;
        port->port = instance->port;
        told->port_pointers[(*n)++] = port;
    }
}

static void
add_service(struct table *table, const struct registry_service *service)
{
    struct told_service *told = &table->services[table->n];
    Salient__V1__Service *wire = &told->service;
    const struct registry_instance *instance;
    struct agent_session *s = table->session;

    salient__v1__service__init(wire);
    put_prefix(&told->prefix, &service->prefix);
    wire->name = CONST_CAST(char *, service->name ? service->name : "");
    wire->prefix = &told->prefix;
    wire->service_v4 = service->service_v4;
    wire->path_class = service->definition.path_class;
    wire->datagram = service->definition.datagram;
    wire->ports = told->port_pointers;
    REGISTRY_FOR_EACH_INSTANCE_OF (instance, service) {
        add_port(told, instance);
    }
    s->ops->hops(s, &service->prefix, &told->hops, s->aux);
    wire->n_hops = agent_hops_encode(&told->hops, &told->hops_wire);
    wire->hops = told->hops_wire.pointers;
    table->service_pointers[table->n++] = wire;
    if (table->n == table->max) {
        flush_table(table);
    }
}

static void
add_removed(struct table *table, const struct service_prefix *prefix)
{
    put_prefix(&table->removed[table->n_removed], prefix);
    table->removed_pointers[table->n_removed] =
        &table->removed[table->n_removed];
    if (++table->n_removed == table->max) {
        flush_table(table);
    }
}

/* For 'max' services at a time; mostly it is one that has changed. */
static struct table *
create_table(struct agent_session *s, bool complete, size_t max)
{
    struct table *table = xzalloc(sizeof *table);

    table->session = s;
    table->complete = complete;
    table->max = max;
    table->services = xmalloc(max * sizeof *table->services);
    table->service_pointers = xmalloc(max * sizeof *table->service_pointers);
    table->removed = xmalloc(max * sizeof *table->removed);
    table->removed_pointers = xmalloc(max * sizeof *table->removed_pointers);
    return table;
}

static void
destroy_table(struct table *table)
{
    if (table) {
        free(table->services);
        free(table->service_pointers);
        free(table->removed);
        free(table->removed_pointers);
        free(table);
    }
}

/* Services come and go between two parts; those that come and go are told of
 * on their own.  A map that has grown has another order: begin again. */
void
agent_session_push_more(struct agent_session *s)
{
    const struct hmap *services = registry_services(s->registry);
    struct hmap_node *node;

    if (!s->pushing.active || s->state != AGENT_SESSION_UP) {
        return;
    }
    if (s->pushing.mask != services->mask) {
        s->pushing.mask = services->mask;
        s->pushing.next = (struct hmap_position) {0, 0};
    }
    struct table *table = create_table(s, s->pushing.complete,
                                       SERVICES_PER_PUSH);
    s->pushing.complete = false;
    for (int i = 0; i < SERVICES_PER_PUSH; i++) {
        node = hmap_at_position(services, &s->pushing.next);
        if (!node) {
            s->pushing.active = false;
            break;
        }
        add_service(table, CONTAINER_OF(node, struct registry_service,
                                        prefix_node));
    }
    if (table->n || table->complete) {
        flush_table(table);
    }
    destroy_table(table);
}

void
agent_session_push_services(struct agent_session *s, bool complete)
{
    s->pushing.complete = complete;
    s->pushing.active = true;
    s->pushing.next = (struct hmap_position) {0, 0};
    s->pushing.mask = registry_services(s->registry)->mask;
    agent_session_push_more(s);
}

void
agent_session_push_changes(struct agent_session *s,
                           const struct registry_change *changes, size_t n)
{
    struct table *table = NULL;

    for (size_t i = 0; i < n; i++) {
        const struct registry_change *change = &changes[i];
        const struct registry_service *service
            = registry_service(s->registry, &change->prefix);

        if (!change->names_changed) {
            continue;
        }
        if (!table) {
            table = create_table(s, false, MIN(n - i, SERVICES_PER_PUSH));
        }
        if (service) {
            add_service(table, service);
        } else {
            add_removed(table, &change->prefix);
        }
    }
    if (table && (table->n || table->n_removed)) {
        flush_table(table);
    }
    destroy_table(table);
}
