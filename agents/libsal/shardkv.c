/* SPDX-License-Identifier: Apache-2.0 */
/* An example of libsal: a key-value store whose keys are spread over servers
 * by the network.
 *
 *     server1$ shardkv serve kv.shop.acme:7000 0/1      keys that begin with 0
 *     server2$ shardkv serve kv.shop.acme:7000 1/1      keys that begin with 1
 *     client$  shardkv set kv.shop.acme:7000 alice 42
 *     client$  shardkv get kv.shop.acme:7000 alice
 *     client$  shardkv -6 get kv.shop.acme:7000 alice   over IPv6 (or -4)
 *
 * Each server registers a range of the service's keys (a prefix that is longer
 * than the name's), the client connects to the service with the key in the
 * service ID: the switch finds the server, and no client knows which there
 * are.  To split a shard, start a server for half of it: its longer prefix
 * takes over.
 *
 * The protocol is a line each way: "set KEY VALUE", "get KEY". */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agents/libsal/libsal.h"

#define MAX_LINE 512
#define MAX_CLIENTS 64
#define N_BUCKETS 4096

static int
fail(const char *what, int error)
{
    fprintf(stderr, "shardkv: %s: %s%s%s\n", what, strerror(-error),
            sal_error()[0] ? ": " : "", sal_error());
    return EXIT_FAILURE;
}

/* "kv.shop.acme:7000". */
static int
parse_service(const char *arg, char name[SERVICE_NAME_MAX + 1],
              struct service_prefix *id, uint16_t *port)
{
    unsigned int number;

    if (sscanf(arg, "%253[^:]:%u", name, &number) != 2 || !number
        || number > 65535) {
        return -EINVAL;
    }
    *port = number;
    return sal_id_from_name(name, id);
}

/* The store. */

struct item {
    struct item *next;
    char *key, *value;
};

static struct item *buckets[N_BUCKETS];

static struct item *
find(const char *key, struct item ***ret_link)
{
    struct item **link
        = &buckets[sal_key_of(key, strlen(key)) % N_BUCKETS];

    while (*link && strcmp((*link)->key, key)) {
        link = &(*link)->next;
    }
    *ret_link = link;
    return *link;
}

static void
set(const char *key, const char *value)
{
    struct item **link, *item = find(key, &link);

    if (!item) {
        item = *link = calloc(1, sizeof *item);
        item->key = strdup(key);
    }
    free(item->value);
    item->value = strdup(value);
}

static void
answer(char *line, char reply[MAX_LINE])
{
    char key[MAX_LINE], value[MAX_LINE];
    struct item **link, *item;

    if (sscanf(line, "set %511s %511s", key, value) == 2) {
        set(key, value);
        strcpy(reply, "ok\n");
    } else if (sscanf(line, "get %511s", key) == 1) {
        item = find(key, &link);
        snprintf(reply, MAX_LINE, "%s\n", item ? item->value : "(none)");
    } else {
        strcpy(reply, "what?\n");
    }
}

/* The server: one line a connection. */

static void
serve_one(int fd)
{
    char line[MAX_LINE], reply[MAX_LINE];
    struct sal_peer peer;
    ssize_t n = read(fd, line, sizeof line - 1);

    if (n > 0) {
        line[n] = '\0';
        answer(line, reply);
        if (write(fd, reply, strlen(reply)) < 0) {
            perror("write");
        }
        if (!sal_get_peer(fd, &peer)) {
            printf("%s at %s: %s", peer.identity, peer.locator, line);
            fflush(stdout);
        }
    }
    close(fd);
}

static volatile sig_atomic_t stopped;

static void
stop(int signum)
{
    stopped = 1;
}

static int
serve(int argc, char *argv[])
{
    struct sal_service service = {.protocol = IPPROTO_TCP, .weight = 1};
    char name[SERVICE_NAME_MAX + 1];
    unsigned long long shard;
    unsigned int bits;

    if (argc != 2 || parse_service(argv[0], name, &service.prefix,
                                   &service.port)
        || sscanf(argv[1], "%llu/%u", &shard, &bits) != 2
        || sal_id_set_shard(&service.prefix, shard, bits)) {
        return 2;
    }
    int listener = sal_listen(&service, MAX_CLIENTS);
    if (listener < 0) {
        return fail("cannot serve", listener);
    }
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    printf("serving shard %llu/%u of %s\n", shard, bits, name);
    fflush(stdout);
    while (!stopped) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            serve_one(fd);
        }
    }
    close(listener);
    int error = sal_unregister(&service, false);
    return error ? fail("cannot unregister", error) : EXIT_SUCCESS;
}

/* The client. */

static int
ask(int family, const char *verb, int argc, char *argv[])
{
    char name[SERVICE_NAME_MAX + 1], line[MAX_LINE];
    struct service_prefix id;
    uint16_t port;

    if (argc != (strcmp(verb, "set") ? 2 : 3)
        || parse_service(argv[0], name, &id, &port)
        || sal_id_set_key(&id, sal_key_of(argv[1], strlen(argv[1])))) {
        return 2;
    }
    int fd = sal_connect_family(&id, family, SOCK_STREAM, port);
    if (fd < 0) {
        return fail("cannot connect", fd);
    }
    int n = snprintf(line, sizeof line, "%s %s %s\n", verb, argv[1],
                     argc > 2 ? argv[2] : "");
    ssize_t got = write(fd, line, n) == n ? read(fd, line, sizeof line) : -1;
    if (got > 0) {
        fwrite(line, 1, got, stdout);
    }
    close(fd);
    return got > 0 ? EXIT_SUCCESS : fail("no answer", -errno);
}

int
main(int argc, char *argv[])
{
    int status = 2, family = AF_UNSPEC;

    if (argc > 1 && (!strcmp(argv[1], "-4") || !strcmp(argv[1], "-6"))) {
        family = argv[1][1] == '4' ? AF_INET : AF_INET6;
        argc--;
        argv++;
    }
    if (argc > 1 && !strcmp(argv[1], "serve")) {
        status = serve(argc - 2, argv + 2);
    } else if (argc > 1
               && (!strcmp(argv[1], "get") || !strcmp(argv[1], "set"))) {
        status = ask(family, argv[1], argc - 2, argv + 2);
    }
    if (status == 2) {
        fprintf(stderr, "usage: shardkv serve NAME:PORT SHARD/BITS\n"
                "       shardkv [-4|-6] set NAME:PORT KEY VALUE\n"
                "       shardkv [-4|-6] get NAME:PORT KEY\n");
    }
    return status;
}
