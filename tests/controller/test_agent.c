/* SPDX-License-Identifier: Apache-2.0 */
/* An agent without a data plane, for tests of the controller: speaks the
 * registration API, sends PROBEs and SYNs from the network namespace it runs
 * in, and says in lines what it hears.
 *
 *     test_agent CONTROLLER NAME LOCATOR KEY [LOCATOR6 [ZONE]]
 *
 * KEY is the file of its secret key, made if there is none.
 *
 * Commands on stdin:
 *     register NAME PORT WEIGHT [wait]    unregister NAME PORT [wait]
 *     offer NAME PORT WEIGHT PRIORITY CAPACITY
 *     probe                               syn NAME SOURCE-PORT [CLASS]
 *     quiet (no PROBE when asked)         syn6 NAME SOURCE-PORT [CLASS]
 *     send LOCATOR CLASS (an ACK)         resolve NAME
 *     quit
 *
 * NAME may also be 0xID/LEN. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include "agents/probe.h"
#include "byte-order.h"
#include "ofp-ext/service_id.h"
#include "openvswitch/vlog.h"
#include "proto/channel.h"
#include "proto/identity.h"
#include "util.h"

#define KEEPALIVE_MS 1000

static struct {
    uv_loop_t *loop;
    struct channel *channel;
    struct identity identity;
    const char *name;
    const char *zone;
    struct side {            /* IPv4, IPv6. */
        bool used;
        struct sockaddr_storage locator, resolver;
        uv_udp_t sal;        /* Bound to the SAL port. */
        uv_udp_t *client;    /* Bound to the source port of the last SYN. */
    } sides[2];
    uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN];
    uint8_t key[IDENTITY_SESSION_KEY_LEN];
    bool up, quiet;
    uint64_t request_id;
    uint32_t seq;
    uv_pipe_t input;
    uv_timer_t keepalive;
    char line[4096];
    size_t line_len;
    /* What is registered, to say it again after a reconnect. */
    struct wanted {
        char name[300];
        int port, weight;
    } wanted[16];
    size_t n_wanted;
} agent;

static void
say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void
request(Salient__V1__Envelope__BodyCase body_case, void *body)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;

    if (!agent.channel) {
        say("not connected");
        return;
    }
    envelope.request_id = ++agent.request_id;
    envelope.body_case = body_case;
    envelope.hello = body;
    channel_send(agent.channel, &envelope);
}

/* Packets. */

static void
udp_send(uv_udp_t *udp, const struct sockaddr_storage *to, const void *data,
         size_t len)
{
    uv_buf_t buf = uv_buf_init(CONST_CAST(char *, data), len);

    uv_udp_try_send(udp, &buf, 1, (const struct sockaddr *) to);
}

static uint16_t checksum(const uint8_t *data, size_t len);

/* The same without the option that names an IPv4 locator: over IPv6, the
 * source of the packet says it all. */
static void
hide_locator(uint8_t packet[PROBE_LEN])
{
    uint8_t *option = packet + SAL_OFS_OPTIONS, *mac = NULL;

    while (option < packet + PROBE_LEN) {
        if (option[0] == SAL_OPTION_LOCATOR4) {
            option[0] = 0x7f;
        } else if (option[0] == SAL_OPTION_MAC) {
            mac = option + 2;
        }
        option += ROUND_UP(option[1], 4);
    }
    memset(packet + SAL_OFS_CHECKSUM, 0, 2);
    memset(mac, 0, IDENTITY_MAC_LEN);
    uint8_t result[IDENTITY_MAC_LEN];
    identity_mac(agent.key, packet, PROBE_LEN, result);
    memcpy(mac, result, sizeof result);
    uint16_t sum = checksum(packet, PROBE_LEN);
    memcpy(packet + SAL_OFS_CHECKSUM, &sum, sizeof sum);
}

static void
send_probe(void)
{
    const struct sockaddr_in *v4 = (const void *) &agent.sides[0].locator;
    struct probe probe = {
        .locator_v4 = ntohl(v4->sin_addr.s_addr),
    };
    uint8_t packet[PROBE_LEN];

    memcpy(probe.endpoint_id, agent.endpoint_id, sizeof probe.endpoint_id);
    for (int v6 = 0; v6 < 2; v6++) {
        struct side *side = &agent.sides[v6];
        uv_timeval64_t now;

        uv_gettimeofday(&now);
        agent.seq = probe_next_seq(agent.seq,
                                   now.tv_sec * 1000 + now.tv_usec / 1000);
        probe.seq = agent.seq;
        probe_build(&probe, agent.key, packet);
        if (v6) {
            hide_locator(packet);
        }
        if (side->used) {
            udp_send(&side->sal, &side->resolver, packet, sizeof packet);
        }
    }
}

static void
packet_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char buffer[2048];

    *buf = uv_buf_init(buffer, sizeof buffer);
}

static void
packet_received(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf,
                const struct sockaddr *from, unsigned int flags)
{
    const struct sal_control_header *sal = (const void *) buf->base;
    char ip[INET6_ADDRSTRLEN];

    if (n < (ssize_t) sizeof *sal || !from) {
        return;
    }
    uv_ip_name(from, ip, sizeof ip);
    say("packet type=%#x src_flow=%u dst_flow=%u nonce=%" PRIx64 " from=%s",
        sal->base.type, ntohl(sal->base.src_flow), ntohl(sal->base.dst_flow),
        ntohll(sal->nonce), ip);
}

static void
open_udp(uv_udp_t *udp, const struct sockaddr_storage *locator, uint16_t port)
{
    struct sockaddr_storage at = *locator;

    /* The port stands at one place in both kinds of address. */
    ((struct sockaddr_in *) &at)->sin_port = htons(port);
    uv_udp_init(agent.loop, udp);
    if (uv_udp_bind(udp, (struct sockaddr *) &at, UV_UDP_REUSEADDR)
        || uv_udp_recv_start(udp, packet_allocate, packet_received)) {
        fprintf(stderr, "cannot use UDP port %u\n", port);
        exit(EXIT_FAILURE);
    }
}

static uint16_t
checksum(const uint8_t *data, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i + 1 < len; i += 2) {
        sum += data[i] << 8 | data[i + 1];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return htons(~sum);
}

static bool
parse_service(const char *name, struct service_prefix *prefix)
{
    return !(name[0] == '0' && name[1] == 'x'
             ? service_prefix_from_string(name, prefix)
             : service_prefix_from_name(name, prefix));
}

static void
send_ack(const char *locator, uint8_t class)
{
    struct sal_control_header ack = {
        .base = {
            .version = SAL_VERSION << 4,
            .header_len = sizeof ack / 4,
            .type = SAL_TYPE_ACK,
            .flags_class = class,
            .inner = SAL_INNER_NONE,
        },
    };
    bool v6 = strchr(locator, ':') != NULL;
    struct sockaddr_storage to = agent.sides[v6].resolver;

    inet_pton(v6 ? AF_INET6 : AF_INET, locator,
              v6 ? (void *) &((struct sockaddr_in6 *) &to)->sin6_addr
                 : (void *) &((struct sockaddr_in *) &to)->sin_addr);
    ack.base.checksum = checksum((uint8_t *) &ack, sizeof ack);
    udp_send(&agent.sides[v6].sal, &to, &ack, sizeof ack);
}

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void
send_syn(struct side *side, const char *name, uint16_t source_port,
         uint8_t class)
{
    struct sal_service_header syn = {
        .control.base = {
            .version = SAL_VERSION << 4,
            .header_len = sizeof syn / 4,
            .type = SAL_TYPE_SYN,
            .proto = IPPROTO_TCP,
            .src_flow = htonl(0x10000 + source_port),
            .flags_class = class,
            .inner = SAL_INNER_NONE,
        },
        .control.nonce = htonll(0x1122334400000000ULL + source_port),
    };
    struct service_prefix prefix;

    if (!parse_service(name, &prefix)) {
        say("bad name");
        return;
    }
    memcpy(syn.service_id, prefix.id.bytes, sizeof syn.service_id);
    syn.control.base.checksum = checksum((uint8_t *) &syn, sizeof syn);
    if (side->client) {
        uv_close((uv_handle_t *) side->client, free_handle);
    }
    side->client = xmalloc(sizeof *side->client);
    open_udp(side->client, &side->locator, source_port);
    udp_send(side->client, &side->resolver, &syn, sizeof syn);
}

/* The session. */

static void
take_challenge(const Salient__V1__Challenge *challenge)
{
    Salient__V1__Proof proof = SALIENT__V1__PROOF__INIT;
    uint8_t mac[IDENTITY_PROOF_LEN];

    if (identity_session_key(&agent.identity, challenge->public_key.data,
                             challenge->nonce.data, true, agent.key)) {
        say("bad challenge");
        return;
    }
    identity_proof(agent.key, mac);
    proof.mac.data = mac;
    proof.mac.len = sizeof mac;
    request(SALIENT__V1__ENVELOPE__BODY_PROOF, &proof);
}

static void do_register(const char *, int port, int weight, bool wait);

static void
take_welcome(const Salient__V1__Welcome *welcome)
{
    struct sockaddr_in *v4 = (void *) &agent.sides[0].resolver;
    struct sockaddr_in6 *v6 = (void *) &agent.sides[1].resolver;

    v4->sin_family = AF_INET;
    v4->sin_addr.s_addr = htonl(welcome->resolver_v4);
    v4->sin_port = htons(welcome->sal_port);
    if (welcome->resolver_v6.len == sizeof v6->sin6_addr) {
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, welcome->resolver_v6.data,
               sizeof v6->sin6_addr);
        v6->sin6_port = htons(welcome->sal_port);
    }
    memcpy(agent.endpoint_id, welcome->endpoint_id.data,
           sizeof agent.endpoint_id);
    for (int i = 0; i < 2 && !agent.up; i++) {
        if (agent.sides[i].used) {
            open_udp(&agent.sides[i].sal, &agent.sides[i].locator,
                     welcome->sal_port);
        }
    }
    agent.up = true;
    struct service_prefix own;
    char text[SERVICE_PREFIX_STRLEN];
    service_prefix_of_endpoint(agent.endpoint_id, &own);
    say("welcome %08x endpoint %s", welcome->identity_v4,
        service_prefix_format(&own, text));
    for (size_t i = 0; i < agent.n_wanted; i++) {
        do_register(agent.wanted[i].name, agent.wanted[i].port,
                    agent.wanted[i].weight, false);
    }
}

static void
say_hops(Salient__V1__Hop *const hops[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char text[INET6_ADDRSTRLEN];

        inet_ntop(hops[i]->locator.len == 4 ? AF_INET : AF_INET6,
                  hops[i]->locator.data, text, sizeof text);
        say("hop %s weight %u", text, hops[i]->weight);
    }
}

static void
take_services(const Salient__V1__ServiceTable *table)
{
    say("table complete=%d services=%zu removed=%zu", table->complete,
        table->n_services, table->n_removed);
    for (size_t i = 0; i < table->n_services; i++) {
        const Salient__V1__Service *service = table->services[i];

        say("service %s %08x class %u ports %zu hops %zu", service->name,
            service->service_v4, service->path_class, service->n_ports,
            service->n_hops);
        say_hops(service->hops, service->n_hops);
    }
}

static void
receive(struct channel *channel, const Salient__V1__Envelope *e, void *aux)
{
    switch ((int) e->body_case) {
    case SALIENT__V1__ENVELOPE__BODY_CHALLENGE:
        take_challenge(e->challenge);
        break;
    case SALIENT__V1__ENVELOPE__BODY_WELCOME:
        take_welcome(e->welcome);
        break;
    case SALIENT__V1__ENVELOPE__BODY_REGISTERED:
        say("registered confirmed=%d us=%" PRIu64 " v4=%08x",
            e->registered->confirmed, e->registered->confirm_us,
            e->registered->service_v4);
        break;
    case SALIENT__V1__ENVELOPE__BODY_UNREGISTERED:
        say("unregistered confirmed=%d us=%" PRIu64,
            e->unregistered->confirmed, e->unregistered->confirm_us);
        break;
    case SALIENT__V1__ENVELOPE__BODY_ERROR:
        say("error %d %s: %s", e->error->code, e->error->field,
            e->error->message);
        break;
    case SALIENT__V1__ENVELOPE__BODY_ATTACHMENT:
        say("attachment%s attached=%d dpid=%" PRIx64 " port=%u",
            e->attachment->locator_v6.len ? "6" : "", e->attachment->attached,
            e->attachment->datapath, e->attachment->port);
        break;
    case SALIENT__V1__ENVELOPE__BODY_RESOLVED:
        say("resolved length=%u ttl=%u", e->resolved->prefix->length,
            e->resolved->ttl_ms);
        say_hops(e->resolved->hops, e->resolved->n_hops);
        break;
    case SALIENT__V1__ENVELOPE__BODY_SERVICE_TABLE:
        take_services(e->service_table);
        break;
    case SALIENT__V1__ENVELOPE__BODY_PROBE_REQUEST:
        if (!agent.quiet) {
            send_probe();
        }
        break;
    }
}

static void
opened(struct channel *channel, void *aux)
{
    Salient__V1__Hello hello = SALIENT__V1__HELLO__INIT;

    hello.api_version = 1;
    hello.name = CONST_CAST(char *, agent.name);
    hello.software = CONST_CAST(char *, "test_agent");
    hello.zone = CONST_CAST(char *, agent.zone);
    hello.public_key.data = agent.identity.public_key;
    hello.public_key.len = sizeof agent.identity.public_key;
    request(SALIENT__V1__ENVELOPE__BODY_HELLO, &hello);
}

static const char *controller;
static void try_to_connect(uv_timer_t *);

static void
channel_ended(struct channel *channel, const char *reason, void *aux)
{
    say("closed %s", reason ? reason : "");
    agent.channel = NULL;
    uv_timer_start(&agent.keepalive, try_to_connect, 100, 0);
}

static const struct channel_ops ops = {
    .open = opened, .receive = receive, .closed = channel_ended};

static void
keep_alive(uv_timer_t *timer)
{
    Salient__V1__Keepalive keepalive = SALIENT__V1__KEEPALIVE__INIT;

    if (agent.channel && agent.up) {
        request(SALIENT__V1__ENVELOPE__BODY_KEEPALIVE, &keepalive);
    }
}

static void
try_to_connect(uv_timer_t *timer)
{
    char *error;

    if (channel_connect(agent.loop, controller, NULL, &ops, NULL,
                        &agent.channel, &error)) {
        fprintf(stderr, "%s\n", error);
        exit(EXIT_FAILURE);
    }
    uv_timer_start(timer, keep_alive, KEEPALIVE_MS, KEEPALIVE_MS);
}

/* Commands. */

static void
do_offer(const char *name, int port, int weight, int priority, int capacity)
{
    Salient__V1__Register m = SALIENT__V1__REGISTER__INIT;

    m.which_case = SALIENT__V1__REGISTER__WHICH_NAME;
    m.name = CONST_CAST(char *, name);
    m.protocol = IPPROTO_TCP;
    m.service_port = port;
    m.weight = weight;
    m.priority = priority;
    m.capacity = capacity;
    m.wait = true;
    request(SALIENT__V1__ENVELOPE__BODY_REGISTER, &m);
}

static void
do_resolve(const char *name)
{
    Salient__V1__Resolve m = SALIENT__V1__RESOLVE__INIT;
    struct service_prefix prefix;

    if (parse_service(name, &prefix)) {
        m.service_id.data = prefix.id.bytes;
        m.service_id.len = sizeof prefix.id.bytes;
        request(SALIENT__V1__ENVELOPE__BODY_RESOLVE, &m);
    }
}

static void
do_register(const char *name, int port, int weight, bool wait)
{
    Salient__V1__Register m = SALIENT__V1__REGISTER__INIT;

    m.which_case = SALIENT__V1__REGISTER__WHICH_NAME;
    m.name = CONST_CAST(char *, name);
    m.protocol = IPPROTO_TCP;
    m.service_port = port;
    m.weight = weight;
    m.wait = wait;
    request(SALIENT__V1__ENVELOPE__BODY_REGISTER, &m);
}

static void
do_unregister(const char *name, int port, bool wait)
{
    Salient__V1__Unregister m = SALIENT__V1__UNREGISTER__INIT;

    m.which_case = SALIENT__V1__UNREGISTER__WHICH_NAME;
    m.name = CONST_CAST(char *, name);
    m.protocol = IPPROTO_TCP;
    m.service_port = port;
    m.wait = wait;
    request(SALIENT__V1__ENVELOPE__BODY_UNREGISTER, &m);
}

static void
forget(const char *name, int port)
{
    for (size_t i = 0; i < agent.n_wanted; i++) {
        if (!strcmp(agent.wanted[i].name, name)
            && agent.wanted[i].port == port) {
            agent.wanted[i] = agent.wanted[--agent.n_wanted];
            return;
        }
    }
}

static void
remember(const char *name, int port, int weight)
{
    forget(name, port);
    if (port && weight <= UINT16_MAX
        && agent.n_wanted < ARRAY_SIZE(agent.wanted)) {
        struct wanted *wanted = &agent.wanted[agent.n_wanted++];

        ovs_strlcpy(wanted->name, name, sizeof wanted->name);
        wanted->port = port;
        wanted->weight = weight;
    }
}

static void
command(const char *line)
{
    char name[300], wait[10] = "";
    int port, weight, priority, capacity, class = 0;

    if (sscanf(line, "register %299s %d %d %9s", name, &port, &weight, wait)
        >= 3) {
        do_register(name, port, weight, !strcmp(wait, "wait"));
        remember(name, port, weight);
    } else if (sscanf(line, "unregister %299s %d %9s", name, &port, wait)
               >= 2) {
        do_unregister(name, port, !strcmp(wait, "wait"));
        forget(name, port);
    } else if (sscanf(line, "offer %299s %d %d %d %d", name, &port, &weight,
                      &priority, &capacity) == 5) {
        do_offer(name, port, weight, priority, capacity);
    } else if (sscanf(line, "syn6 %299s %d %d", name, &port, &class) >= 2) {
        send_syn(&agent.sides[1], name, port, class);
    } else if (sscanf(line, "syn %299s %d %d", name, &port, &class) >= 2) {
        send_syn(&agent.sides[0], name, port, class);
    } else if (sscanf(line, "resolve %299s", name) == 1) {
        do_resolve(name);
    } else if (sscanf(line, "send %299s %d", name, &class) == 2) {
        send_ack(name, class);
    } else if (!strcmp(line, "probe")) {
        send_probe();
    } else if (!strcmp(line, "quiet")) {
        agent.quiet = true;
    } else if (!strcmp(line, "quit")) {
        exit(EXIT_SUCCESS);
    } else {
        say("what? %s", line);
    }
}

static void
input_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    *buf = uv_buf_init(agent.line + agent.line_len,
                       sizeof agent.line - 1 - agent.line_len);
}

static void
input_received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    char *end;

    if (n < 0) {
        exit(EXIT_SUCCESS);
    }
    agent.line_len += n;
    while ((end = memchr(agent.line, '\n', agent.line_len)) != NULL) {
        *end = '\0';
        command(agent.line);
        agent.line_len -= end + 1 - agent.line;
        memmove(agent.line, end + 1, agent.line_len);
    }
}

int
main(int argc, char *argv[])
{
    if (argc < 5 || argc > 7 || identity_load(argv[4], &agent.identity)) {
        fprintf(stderr, "usage: test_agent CONTROLLER NAME LOCATOR KEY "
                        "[LOCATOR6 [ZONE]]\n");
        return 2;
    }
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    controller = argv[1];
    agent.loop = uv_default_loop();
    agent.name = argv[2];
    uv_ip4_addr(argv[3], 0, (struct sockaddr_in *) &agent.sides[0].locator);
    agent.sides[0].used = true;
    if (argc > 5 && argv[5][0]) {
        uv_ip6_addr(argv[5], 0,
                    (struct sockaddr_in6 *) &agent.sides[1].locator);
        agent.sides[1].used = true;
    }
    agent.zone = argc > 6 ? argv[6] : "";
    uv_timer_init(agent.loop, &agent.keepalive);
    uv_pipe_init(agent.loop, &agent.input, 0);
    uv_pipe_open(&agent.input, STDIN_FILENO);
    uv_read_start((uv_stream_t *) &agent.input, input_allocate,
                  input_received);
    try_to_connect(&agent.keepalive);
    return uv_run(agent.loop, UV_RUN_DEFAULT);
}
