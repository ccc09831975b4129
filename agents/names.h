/* SPDX-License-Identifier: Apache-2.0 */
/* What names mean: service name <-> service prefix <-> service address.
 *
 * The controller says what is in it (ServiceTable); the name server answers
 * from it, and the data plane's address table is computed from it.
 *
 * Pure; not thread-safe.  Entries belong to the table; pointers to them are
 * valid until the table changes. */
#ifndef SALIENT_NAMES_H
#define SALIENT_NAMES_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/service_id.h"
#include "openvswitch/hmap.h"
#include "openvswitch/shash.h"

/* A port that somebody registered for a service. */
struct names_port {
    uint8_t protocol; /* IANA. */
    uint16_t port;
};

#define NAMES_MAX_PORTS 64 /* Of one service; more are forgotten. */

struct names_entry {
    struct hmap_node prefix_node;
    struct hmap_node v6_node;      /* By 'v6'. */
    struct hmap_node address_node; /* Only if 'address' is not 0. */
    char *name; /* "" for a service registered by prefix only. */
    struct service_prefix prefix;
    uint32_t address; /* Service address, host byte order; 0 = none. */
    uint8_t v6[10];   /* Its IPv6 service address behind the /48. */
    struct names_port *ports; /* Ascending. */
    size_t n_ports;
};

struct names {
    struct hmap by_prefix;
    struct hmap by_address, by_v6;
    struct shash by_name;
    /* Names that exist only because a longer one does ("shop.acme" when there
     * is "web.shop.acme"), with the number of names below. */
    struct shash parents;
    uint32_t serial; /* Counts changes; the SOA's serial. */
};

void names_init(struct names *);
void names_destroy(struct names *);
void names_clear(struct names *);

/* Adds or replaces the entry of 'prefix'.  'name' may be NULL or "".  True if
 * that changed anything.  An address that another entry had is taken from it:
 * the latest word counts. */
bool names_put(struct names *, const char *name, const struct service_prefix *,
               uint32_t address);
/* What is known of the ports of 'prefix', if that is there.  Sorts the array.
 * True if that changed anything. */
bool names_set_ports(struct names *, const struct service_prefix *,
                     struct names_port[], size_t n);
bool names_remove(struct names *, const struct service_prefix *);

size_t names_count(const struct names *);
const struct names_entry *names_by_prefix(const struct names *,
                                          const struct service_prefix *);
const struct names_entry *names_by_name(const struct names *,
                                        const char *name);
const struct names_entry *names_by_address(const struct names *,
                                           uint32_t address);
/* Of an IPv6 service address, the 80 bits behind the /48. */
const struct names_entry *names_by_v6(const struct names *,
                                      const uint8_t v6[10]);
/* Longest prefix that covers 'id', or NULL.  257 look-ups: for people only. */
const struct names_entry *names_by_service_id(const struct names *,
                                              const struct service_id *);

enum names_result {
    NAMES_FOUND,
    NAMES_PARENT, /* Exists, has nothing itself: RFC 8020. */
    NAMES_UNKNOWN,
};
enum names_result names_lookup(const struct names *, const char *name,
                               const struct names_entry **ret_entry);

/* The named service that serves 'name', of ID 'id', because nothing more
 * specific exists: its closest parent whose prefix covers the ID.  NULL if
 * there is none. */
const struct names_entry *names_covering(const struct names *,
                                         const char *name,
                                         const struct service_id *id);

/* All entries, sorted by name, then prefix.  The caller frees the array. */
const struct names_entry **names_sorted(const struct names *, size_t *ret_n);

/* Cuts 'suffix' ("sal", no dots at its ends) from 'name' ("Web.Shop.Acme.SAL"
 * or "web.shop.acme.sal.") and writes the lower-case rest to 'buf'; "" if
 * 'name' is the suffix itself.  False if 'name' does not end in the suffix or
 * is too long. */
bool names_strip_suffix(const char *name, const char *suffix,
                        char buf[SERVICE_NAME_MAX + 1]);

#endif /* names.h */
