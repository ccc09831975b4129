/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle of the load generator on the flows of real Open vSwitch: agents
 * that do not exist, switches that do (tests/controller/check_fattree.py makes
 * them, with the ports of load_fat_tree()).
 *
 *     check_ovs API RUNDIR K SERVICES
 *
 * Says "ready" when all agents are attached and their registrations confirmed.
 * Commands on stdin: "link SWITCH PORT up|down" (only what the oracle is to
 * think), "check": reads all flows, prints how many there are and how many
 * differences. */
#include "tests/bench/controller/load.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "controller/put.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/vlog.h"
#include "flow.h"
#include "packets.h"
#include "timeval.h"
#include "util.h"

static struct load load;
static const char *rundir;
static int raw_socket;
static bool said_ready;

/* PROBEs leave by the host's end of the veth whose other end is the port. */
static void
inject(struct load *l OVS_UNUSED, int sw, int port, const void *frame,
       size_t len)
{
    char name[IFNAMSIZ];
    struct sockaddr_ll to = {.sll_family = AF_PACKET};

    snprintf(name, sizeof name, "h%d-%d", sw + 1, port);
    to.sll_ifindex = if_nametoindex(name);
    if (!to.sll_ifindex
        || sendto(raw_socket, frame, len, 0, (struct sockaddr *) &to,
                  sizeof to) < 0) {
        ovs_fatal(errno, "%s", name);
    }
}

/* Reading a switch: OpenFlow over its own socket. */

struct reader {
    int fd;
    struct openflow_stream stream;
};

static void
send_message(struct reader *r, struct ofpbuf *b)
{
    ofpmsg_update_length(b);
    if (write(r->fd, b->data, b->size) != b->size) {
        ovs_fatal(errno, "a switch does not listen");
    }
    ofpbuf_delete(b);
}

static struct ofpbuf *
next_message(struct reader *r)
{
    struct ofpbuf *message;
    char bytes[65536];

    while (openflow_stream_next(&r->stream, &message) <= 0) {
        ssize_t n = read(r->fd, bytes, sizeof bytes);
        if (n <= 0) {
            ovs_fatal(errno, "a switch hangs up");
        }
        openflow_stream_push(&r->stream, bytes, n);
    }
    return message;
}

static void
reader_open(struct reader *r, int sw)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    snprintf(sun.sun_path, sizeof sun.sun_path, "%s/s%d.mgmt", rundir, sw + 1);
    openflow_stream_init(&r->stream);
    r->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(r->fd, (struct sockaddr *) &sun, sizeof sun)) {
        ovs_fatal(errno, "%s", sun.sun_path);
    }
    send_message(r, openflow_hello());
}

/* Of each group, the first port that is up. */
struct groups {
    struct {
        uint32_t id, port;
    } groups[1024];
    size_t n;
};

static void
add_group(struct groups *groups, const struct load_switch *sw,
          const struct ofputil_group_desc *group)
{
    const struct ofputil_bucket *bucket;

    LIST_FOR_EACH (bucket, list_node, &group->buckets) {
        uint32_t port = ofp_to_u16(bucket->watch_port);
        if (port <= sw->n_ports && sw->ports[port].up) {
            ovs_assert(groups->n < ARRAY_SIZE(groups->groups));
            groups->groups[groups->n].id = group->group_id;
            groups->groups[groups->n++].port = port;
            return;
        }
    }
}

static uint32_t
port_of_group(const struct groups *groups, uint32_t id)
{
    for (size_t i = 0; i < groups->n; i++) {
        if (groups->groups[i].id == id) {
            return groups->groups[i].port;
        }
    }
    return 0;
}

/* The oracle knows ports only. */
static void
resolve_groups(const struct groups *groups, struct ofpbuf *out,
               const struct ofputil_flow_stats *flow)
{
    const struct ofpact *a;

    OFPACT_FOR_EACH_FLATTENED (a, flow->ofpacts, flow->ofpacts_len) {
        if (a->type == OFPACT_GROUP) {
            ofpact_put_OUTPUT(out)->port = u16_to_ofp(port_of_group(
                groups, ofpact_get_GROUP(a)->group_id));
        } else {
            ofpbuf_put(out, a, OFPACT_ALIGN(a->len));
        }
    }
}

static void
add_flow(struct load_switch *sw, const struct groups *groups,
         const struct ofputil_flow_stats *stats)
{
    struct ofpbuf ofpacts;
    struct ofputil_flow_mod fm = {
        .priority = stats->priority, .table_id = stats->table_id,
        .new_cookie = stats->cookie, .command = OFPFC_ADD,
        .buffer_id = UINT32_MAX, .out_port = OFPP_ANY, .out_group = OFPG_ANY};

    ofpbuf_init(&ofpacts, 256);
    resolve_groups(groups, &ofpacts, stats);
    minimatch_init(&fm.match, &stats->match);
    fm.ofpacts = ofpacts.data;
    fm.ofpacts_len = ofpacts.size;
    struct ofpbuf *b = ofputil_encode_flow_mod(&fm, OFPUTIL_P_OF15_OXM);
    ofpmsg_update_length(b);
    load.faults += !load_flows_mod(&sw->flows, &load.book, b->data);
    ofpbuf_delete(b);
    minimatch_destroy(&fm.match);
    ofpbuf_uninit(&ofpacts);
}

static void
take_parts(struct load_switch *sw, struct groups *groups,
           const struct openflow_message *m)
{
    struct ofputil_flow_stats flow;
    struct ofputil_group_desc group;
    struct ofputil_meter_config meter;
    struct openflow_parts parts;

    openflow_parts_begin(&parts, m);
    if (m->type == OFPTYPE_GROUP_DESC_STATS_REPLY) {
        while (openflow_next_group(&parts, &group) > 0) {
            add_group(groups, sw, &group);
            ofputil_uninit_group_desc(&group);
        }
    } else if (m->type == OFPTYPE_METER_CONFIG_STATS_REPLY) {
        while (openflow_next_meter(&parts, &meter) > 0) {
            load_meter_set(sw, meter.meter_id,
                           meter.n_bands ? meter.bands[0].rate : 0);
        }
    } else {
        while (openflow_next_flow(&parts, &flow) > 0) {
            add_flow(sw, groups, &flow);
        }
    }
    openflow_parts_end(&parts);
}

static void
read_switch(struct load_switch *sw)
{
    struct groups groups = {.n = 0};
    struct reader r;
    int answers = 0;

    load_flows_destroy(&sw->flows);
    load_flows_init(&sw->flows);
    load_meters_forget(sw);
    reader_open(&r, sw->index);
    send_message(&r, openflow_meters_request(OFP15_VERSION));
    send_message(&r, openflow_groups_request(OFP15_VERSION));
    send_message(&r, openflow_flows_request(OFP15_VERSION, SAL_COOKIE_BASE,
                                            SAL_COOKIE_MASK));
    while (answers < 3) {
        struct ofpbuf *b = next_message(&r);
        struct openflow_message m;

        if (!openflow_decode(b, &m)
            && (m.type == OFPTYPE_GROUP_DESC_STATS_REPLY
                || m.type == OFPTYPE_METER_CONFIG_STATS_REPLY
                || m.type == OFPTYPE_FLOW_STATS_REPLY)) {
            take_parts(sw, &groups, &m);
            answers += !m.more;
        }
        ofpbuf_delete(b);
    }
    close(r.fd);
    openflow_stream_destroy(&r.stream);
}

/* Commands. */

static void
check(void)
{
    size_t n = 0;

    for (int i = 0; i < load.n_switches; i++) {
        read_switch(&load.switches[i]);
        n += load.switches[i].flows.n;
    }
    size_t differences = load_check(&load, true);
    /* It must miss any flow that is not there. */
    struct load_switch *sw = &load.switches[load.n_switches - 1];
    const struct load_flow *flow;
    uint32_t position = 0, found = 0;
    while ((flow = load_flows_next(&sw->flows, &position))) {
        if (load_key(&load.book, flow)->table == SAL_TABLE_FORWARD) {
            found = flow->key;
        }
    }
    load_flows_remove(&sw->flows, found);
    printf("flows %zu differences %zu missed %d faults %llu\n", n,
           differences, load_check(&load, false) > differences,
           (unsigned long long) load.faults);
    fflush(stdout);
}

static void
set_link(int sw, int port, bool up)
{
    struct load_port *p = &load.switches[sw].ports[port];

    p->up = up;
    load.switches[p->peer].ports[p->peer_port].up = up;
    load_distances(&load);
}

static void
command(char *line)
{
    int sw, port;
    char state[8];

    if (!strcmp(line, "check")) {
        check();
    } else if (sscanf(line, "link %d %d %7s", &sw, &port, state) == 3) {
        set_link(sw - 1, port, !strcmp(state, "up"));
    } else {
        ovs_fatal(0, "no command: %s", line);
    }
}

static void
allocate(uv_handle_t *handle OVS_UNUSED, size_t size OVS_UNUSED,
         uv_buf_t *buf)
{
    static char bytes[4096];

    *buf = uv_buf_init(bytes, sizeof bytes);
}

/* Commands come one by one: the next after the answer. */
static void
received(uv_stream_t *stream OVS_UNUSED, ssize_t n, const uv_buf_t *buf)
{
    if (n < 0) {
        exit(0);
    }
    char *text = xmemdup0(buf->base, n), *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        command(line);
    }
    free(text);
}

/* The start. */

static void
tick(uv_timer_t *timer)
{
    bool attached = load_agents_are_answered(&load)
                    && load_agents_are_attached(&load);

    if (attached && !load.registered) {
        load.registered = true;
        for (int i = 0; i < load.n_agents; i++) {
            load_register_all(&load, &load.agents[i]);
        }
    } else if (attached && !said_ready) {
        said_ready = true;
        puts("ready");
        fflush(stdout);
        uv_timer_stop(timer);
    }
}

int
main(int argc, char *argv[])
{
    uv_timer_t timer;
    uv_pipe_t input;

    ovs_assert(argc == 5);
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    load.loop = uv_default_loop();
    load.loop->data = &load;
    load.inject = inject;
    ovs_strlcpy(load.api, argv[1], sizeof load.api);
    rundir = argv[2];
    raw_socket = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP));
    load_fat_tree(&load, atoi(argv[3]));
    load.n_services = atoi(argv[4]);
    load.services = xcalloc(load.n_services, sizeof *load.services);
    for (int i = 0; i < load.n_services; i++) {
        load.services[i].n = 3;
        for (int j = 0; j < 3; j++) {
            load.services[i].weight[j] = 1 + (i + j) % 3;
        }
    }
    for (int i = 0; i < load.n_agents; i++) {
        load_agent_start(&load, &load.agents[i]);
    }
    uv_timer_init(load.loop, &timer);
    uv_timer_start(&timer, tick, 20, 20);
    uv_pipe_init(load.loop, &input, 0);
    uv_pipe_open(&input, STDIN_FILENO);
    uv_read_start((uv_stream_t *) &input, allocate, received);
    return uv_run(load.loop, UV_RUN_DEFAULT);
}
