/* SPDX-License-Identifier: Apache-2.0 */
/* The topology's attachments: which endpoint is behind which port. */
#include "controller/topology.h"
#include "controller/topology_private.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include "openvswitch/util.h"
#include "hash.h"
#include "packets.h"
#include "util.h"

/* The last PROBE that counted. */
struct sequence {
    struct hmap_node node;
    struct endpoint_id endpoint;
    uint64_t session;
    uint32_t seq;
};

struct host_change {
    struct hmap_node node;
    struct endpoint_id endpoint;
    struct in6_addr locator;
};

static uint32_t
hash_locator(const struct in6_addr *locator)
{
    return hash_bytes(locator, sizeof *locator, 0);
}

void
topology_hosts_init(struct topology *topology)
{
    hmap_init(&topology->by_locator);
    hmap_init(&topology->by_endpoint);
    hmap_init(&topology->sequences);
    hmap_init(&topology->host_changes);
}

void
topology_hosts_destroy(struct topology *topology)
{
    struct topology_attachment *attachment;
    HMAP_FOR_EACH_POP (attachment, locator_node, &topology->by_locator) {
        free(attachment);
    }
    struct sequence *sequence;
    HMAP_FOR_EACH_POP (sequence, node, &topology->sequences) {
        free(sequence);
    }
    struct host_change *change;
    HMAP_FOR_EACH_POP (change, node, &topology->host_changes) {
        free(change);
    }
    hmap_destroy(&topology->by_locator);
    hmap_destroy(&topology->by_endpoint);
    hmap_destroy(&topology->sequences);
    hmap_destroy(&topology->host_changes);
}

/* Lookups. */

static struct topology_attachment *
find_attachment(const struct topology *topology,
                const struct in6_addr *locator)
{
    struct topology_attachment *attachment;
    HMAP_FOR_EACH_WITH_HASH (attachment, locator_node, hash_locator(locator),
                             &topology->by_locator) {
        if (ipv6_addr_equals(&attachment->locator, locator)) {
            return attachment;
        }
    }
    return NULL;
}

const struct topology_attachment *
topology_attachment(const struct topology *topology,
                    const struct in6_addr *locator)
{
    return find_attachment(topology, locator);
}

/* True if traffic should rather use 'a' than 'b'. */
static bool
is_better(const struct topology_attachment *a,
          const struct topology_attachment *b)
{
    bool a4 = IN6_IS_ADDR_V4MAPPED(&a->locator);
    bool b4 = IN6_IS_ADDR_V4MAPPED(&b->locator);
    return a4 != b4 ? a4
                    : memcmp(&a->locator, &b->locator, sizeof a->locator) < 0;
}

bool
topology_is_pinned(const struct topology *topology,
                   const struct endpoint_id *id)
{
    const struct topology_attachment *attachment;

    HMAP_FOR_EACH_WITH_HASH (attachment, endpoint_node, endpoint_id_hash(id),
                             &topology->by_endpoint) {
        if (endpoint_id_equal(&attachment->endpoint, id)
            && !attachment->nat) {
            return true;
        }
    }
    return false;
}

const struct topology_attachment *
topology_attachment_of(const struct topology *topology,
                       const struct endpoint_id *id)
{
    const struct topology_attachment *attachment, *best = NULL;
    HMAP_FOR_EACH_WITH_HASH (attachment, endpoint_node, endpoint_id_hash(id),
                             &topology->by_endpoint) {
        if (endpoint_id_equal(&attachment->endpoint, id)
            && (!best || is_better(attachment, best))) {
            best = attachment;
        }
    }
    return best;
}

const struct topology_attachment *
topology_attachment_by(const struct topology *topology,
                       const struct endpoint_id *id, bool v6)
{
    const struct topology_attachment *attachment, *best = NULL;
    HMAP_FOR_EACH_WITH_HASH (attachment, endpoint_node, endpoint_id_hash(id),
                             &topology->by_endpoint) {
        if (endpoint_id_equal(&attachment->endpoint, id)
            && IN6_IS_ADDR_V4MAPPED(&attachment->locator) != v6
            && (!best || is_better(attachment, best))) {
            best = attachment;
        }
    }
    return best;
}

const struct hmap *
topology_attachments(const struct topology *topology)
{
    return &topology->by_locator;
}

/* Changes. */

static void
note_host(struct topology *topology, const struct endpoint_id *endpoint,
          const struct in6_addr *locator)
{
    uint32_t hash = hash_locator(locator);
    struct host_change *change;

    topology->generation++;
    HMAP_FOR_EACH_WITH_HASH (change, node, hash, &topology->host_changes) {
        if (ipv6_addr_equals(&change->locator, locator)
            && endpoint_id_equal(&change->endpoint, endpoint)) {
            return;
        }
    }
    change = xmalloc(sizeof *change);
    change->endpoint = *endpoint;
    change->locator = *locator;
    hmap_insert(&topology->host_changes, &change->node, hash);
}

static int
compare_changes(const void *a_, const void *b_)
{
    const struct topology_change *a = a_, *b = b_;
    int diff = memcmp(&a->endpoint, &b->endpoint, sizeof a->endpoint);
    return diff ? diff : memcmp(&a->locator, &b->locator, sizeof a->locator);
}

/* In order of datapath ID. */
static int
compare_dpids(const void *a_, const void *b_)
{
    const uint64_t *a = a_, *b = b_;
    return *a < *b ? -1 : *a > *b;
}

static void
take_meter_changes(struct topology *topology,
                   struct topology_changes *changes)
{
    size_t n = topology->n_meters_changed;

    topology->n_meters_changed = 0;
    changes->meters = n ? xmalloc(n * sizeof *changes->meters) : NULL;
    changes->n_meters = 0;
    if (!n) {
        return;
    }
    struct topology_switch *sw;
    HMAP_FOR_EACH (sw, node, &topology->switches) {
        if (sw->meters_changed) {
            changes->meters[changes->n_meters++] = sw->dpid;
            sw->meters_changed = false;
        }
    }
    qsort(changes->meters, changes->n_meters, sizeof *changes->meters,
          compare_dpids);
}

void
topology_take_changes(struct topology *topology,
                      struct topology_changes *changes)
{
    size_t n = hmap_count(&topology->host_changes);

    changes->graph = topology->graph_changed;
    topology->graph_changed = false;
    take_meter_changes(topology, changes);
    changes->hosts = n ? xmalloc(n * sizeof *changes->hosts) : NULL;
    changes->n_hosts = 0;

    struct host_change *change;
    HMAP_FOR_EACH_POP (change, node, &topology->host_changes) {
        const struct topology_attachment *attachment
            = find_attachment(topology, &change->locator);
        changes->hosts[changes->n_hosts++] = (struct topology_change) {
            .endpoint = change->endpoint,
            .locator = change->locator,
            .attached = attachment
                        && endpoint_id_equal(&attachment->endpoint,
                                             &change->endpoint),
        };
        free(change);
    }
    if (n) {
        qsort(changes->hosts, n, sizeof *changes->hosts, compare_changes);
    }
}

void
topology_changes_destroy(struct topology_changes *changes)
{
    if (changes) {
        free(changes->hosts);
        free(changes->meters);
        changes->hosts = NULL;
        changes->n_hosts = 0;
        changes->meters = NULL;
        changes->n_meters = 0;
    }
}

/* Withdrawal. */

static void
withdraw(struct topology *topology, struct topology_attachment *attachment)
{
    note_host(topology, &attachment->endpoint, &attachment->locator);
    hmap_remove(&topology->by_locator, &attachment->locator_node);
    hmap_remove(&topology->by_endpoint, &attachment->endpoint_node);
    ovs_list_remove(&attachment->port_node);
    free(attachment);
}

void
topology_withdraw_attachments(struct topology *topology,
                              struct topology_port *port)
{
    struct topology_attachment *attachment;
    LIST_FOR_EACH_SAFE (attachment, port_node, &port->attachments) {
        withdraw(topology, attachment);
    }
}

long long int
topology_expire_attachments(struct topology *topology, long long int now)
{
    long long int next = LLONG_MAX;
    struct topology_attachment *attachment;
    HMAP_FOR_EACH_SAFE (attachment, locator_node, &topology->by_locator) {
        if (attachment->deadline <= now) {
            withdraw(topology, attachment);
        } else {
            next = MIN(next, attachment->deadline);
        }
    }
    return next;
}

void
topology_detach(struct topology *topology, const struct in6_addr *locator)
{
    struct topology_attachment *attachment = find_attachment(topology,
                                                             locator);
    if (attachment) {
        withdraw(topology, attachment);
    }
}

static struct sequence *
find_sequence(const struct topology *topology, const struct endpoint_id *id)
{
    struct sequence *sequence;
    HMAP_FOR_EACH_WITH_HASH (sequence, node, endpoint_id_hash(id),
                             &topology->sequences) {
        if (endpoint_id_equal(&sequence->endpoint, id)) {
            return sequence;
        }
    }
    return NULL;
}

void
topology_detach_endpoint(struct topology *topology,
                         const struct endpoint_id *id)
{
    const struct topology_attachment *attachment;
    while ((attachment = topology_attachment_of(topology, id))) {
        withdraw(topology, CONST_CAST(struct topology_attachment *,
                                      attachment));
    }
    struct sequence *sequence = find_sequence(topology, id);
    if (sequence) {
        hmap_remove(&topology->sequences, &sequence->node);
        free(sequence);
    }
}

/* Attachment. */

/* Is the PROBE newer than the last?  Then it is the last from now on. */
static bool
accept_sequence(struct topology *topology, const struct topology_probe *probe)
{
    struct sequence *sequence = find_sequence(topology, &probe->endpoint);
    if (!sequence) {
        sequence = xzalloc(sizeof *sequence);
        sequence->endpoint = probe->endpoint;
        hmap_insert(&topology->sequences, &sequence->node,
                    endpoint_id_hash(&probe->endpoint));
    } else if (probe->session < sequence->session
               || (probe->session == sequence->session
                   && (int32_t) (probe->seq - sequence->seq) <= 0)) {
        return false;
    }
    sequence->session = probe->session;
    sequence->seq = probe->seq;
    return true;
}

static struct topology_attachment *
create_attachment(struct topology *topology,
                  const struct topology_probe *probe)
{
    struct topology_attachment *attachment = xzalloc(sizeof *attachment);
    attachment->endpoint = probe->endpoint;
    attachment->locator = probe->locator;
    ovs_list_init(&attachment->port_node);
    hmap_insert(&topology->by_locator, &attachment->locator_node,
                hash_locator(&probe->locator));
    hmap_insert(&topology->by_endpoint, &attachment->endpoint_node,
                endpoint_id_hash(&probe->endpoint));
    return attachment;
}

/* The endpoint ID that stands for a plain host. */
static struct endpoint_id
plain_endpoint(const struct eth_addr *mac)
{
    struct endpoint_id id = {{'p', 'l', 'a', 'i', 'n'}};
    memcpy(&id.bytes[sizeof id.bytes - sizeof *mac], mac, sizeof *mac);
    return id;
}

/* The port where a host shows itself, if hosts may be there. */
static int
find_host_port(const struct topology *topology, const struct topology_end *at,
               struct topology_port **ret_port)
{
    *ret_port = topology_find_port(topology, at->dpid, at->port);
    if (!*ret_port) {
        return -ENOENT;
    }
    if (!(*ret_port)->up) {
        return -ENETDOWN;
    }
    return topology_is_host_port(*ret_port) ? 0 : -EBUSY;
}

int
topology_learn(struct topology *topology, const struct topology_probe *seen,
               long long int deadline)
{
    struct topology_port *port;
    int error = find_host_port(topology, &seen->at, &port);
    if (error) {
        return error;
    }
    struct topology_attachment *attachment = find_attachment(topology,
                                                             &seen->locator);
    bool is_new = !attachment;
    if (is_new) {
        struct topology_probe plain = *seen;
        plain.endpoint = plain_endpoint(&seen->mac);
        attachment = create_attachment(topology, &plain);
        attachment->plain = true;
        attachment->mac = seen->mac;
        attachment->dpid = seen->at.dpid;
        attachment->port = seen->at.port;
        ovs_list_push_back(&port->attachments, &attachment->port_node);
        port->last_dpid = 0;
        note_host(topology, &plain.endpoint, &plain.locator);
    } else if (!attachment->plain) {
        return -EPERM;
    } else if (attachment->dpid != seen->at.dpid
               || attachment->port != seen->at.port
               || !eth_addr_equals(attachment->mac, seen->mac)) {
        return -EADDRINUSE;
    }
    attachment->seq++;
    attachment->deadline = deadline;
    topology->next_deadline = MIN(topology->next_deadline, deadline);
    return is_new;
}

int
topology_attach(struct topology *topology, const struct topology_probe *probe,
                long long int deadline)
{
    struct topology_port *port;
    int error = find_host_port(topology, &probe->at, &port);
    if (error) {
        return error;
    }
    struct topology_attachment *attachment = find_attachment(topology,
                                                             &probe->locator);
    if (attachment && !attachment->plain
        && !endpoint_id_equal(&attachment->endpoint, &probe->endpoint)) {
        return -EADDRINUSE;
    }
    if (!accept_sequence(topology, probe)) {
        return -ESTALE;
    }
    if (attachment && attachment->plain) {
        withdraw(topology, attachment); /* It was this one all the time. */
        attachment = NULL;
    }

    bool is_change = !attachment || attachment->dpid != probe->at.dpid
                     || attachment->port != probe->at.port
                     || !eth_addr_equals(attachment->mac, probe->mac);
    if (!attachment) {
        attachment = create_attachment(topology, probe);
    }
    if (is_change) {
        ovs_list_remove(&attachment->port_node);
        ovs_list_push_back(&port->attachments, &attachment->port_node);
        port->last_dpid = 0;
        attachment->mac = probe->mac;
        attachment->dpid = probe->at.dpid;
        attachment->port = probe->at.port;
        note_host(topology, &probe->endpoint, &probe->locator);
    }
    attachment->nat = probe->nat;
    attachment->session = probe->session;
    attachment->seq = probe->seq;
    attachment->deadline = deadline;
    topology->next_deadline = MIN(topology->next_deadline, deadline);
    return is_change;
}
