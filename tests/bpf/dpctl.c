/* SPDX-License-Identifier: Apache-2.0 */
/* Drives the data plane without a daemon: for tests and for experiments.
 *
 *     dpctl PIN_PATH DEVICE COMMAND...
 *
 * Commands, any number, executed in order:
 *     identity A          settings: our identity address, IPv4 or IPv6
 *     resolver A          settings: outer address of what is to be resolved
 *     prefer-v6 0|1       settings: new flows over IPv6 if they can
 *     endpoint HEX        settings: endpoint ID
 *     address A NAME      service address
 *     rule NAME ACTION    forward, demux, reject, drop
 *     target NAME PROTO PORT A:PORT   local target; 0.0.0.0 is both
 *                         identity addresses
 *     no-address A, no-rule NAME, no-target NAME PROTO PORT
 *     attach IFNAME       uplink
 *     detach IFNAME
 *     uplink IFNAME WEIGHT [nat]      share of new flows; behind a NAT
 *     status, flows, counters         dumps, JSON
 *     hold                holds packets, until stdin ends
 *     layout N            settings: pretends to be another version's
 *     fill N              N idle flows
 *     remove              leaves nothing behind
 *
 * SALIENT_INGRESS=tc or xdp in the environment chooses how uplinks receive.
 *
 * What is installed is read, changed, and the difference applied, as the
 * daemon does. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agents/datapath_held.h"
#include "agents/holder.h"
#include "timeval.h"
#include "tests/bpf/fill_flows.h"
#include "util.h"

static void
fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("dpctl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(EXIT_FAILURE);
}

static char **arguments;

static const char *
next_argument(void)
{
    if (!*arguments) {
        fail("argument missing");
    }
    return *arguments++;
}

static struct in6_addr
next_address(void)
{
    struct in6_addr address = {0};
    const char *text = next_argument();
    if (inet_pton(AF_INET6, text, &address) == 1) {
        return address;
    }
    memset(&address.s6_addr[10], 0xff, 2);
    if (inet_pton(AF_INET, text, &address.s6_addr[12]) != 1) {
        fail("%s: not an IP address", text);
    }
    return address;
}

/* Stores an address as a setting of its IP version. */
static void
next_setting(uint32_t *v4, struct in6_addr *v6)
{
    struct in6_addr address = next_address();
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
        ovs_be32 be;
        memcpy(&be, &address.s6_addr[12], sizeof be);
        *v4 = ntohl(be);
    } else {
        *v6 = address;
    }
}

static struct service_prefix
next_prefix(void)
{
    struct service_prefix prefix;
    const char *text = next_argument();
    if (service_prefix_from_name(text, &prefix)
        && service_prefix_from_string(text, &prefix)) {
        fail("%s: not a service", text);
    }
    return prefix;
}

static struct service_rule
next_rule(void)
{
    struct service_rule rule = {.prefix = next_prefix()};
    const char *action = next_argument();
    rule.action = !strcmp(action, "forward")  ? SERVICE_FORWARD
                  : !strcmp(action, "demux")  ? SERVICE_DEMUX
                  : !strcmp(action, "reject") ? SERVICE_REJECT
                  : !strcmp(action, "drop")   ? SERVICE_DROP
                  : !strcmp(action, "delay")  ? SERVICE_DELAY
                                              : 0;
    if (!rule.action) {
        fail("%s: no such action", action);
    }
    return rule;
}

static struct local_target
next_target(bool with_value)
{
    struct local_target target = {.prefix = next_prefix()};
    target.protocol = atoi(next_argument());
    target.service_port = atoi(next_argument());
    if (with_value) {
        char text[64];
        ovs_strlcpy(text, next_argument(), sizeof text);
        char *colon = strrchr(text, ':');
        uint8_t *v4 = &target.address.s6_addr[12];
        if (!colon
            || (*colon = '\0', inet_pton(AF_INET, text, v4) != 1
                               && inet_pton(AF_INET6, text,
                                            &target.address) != 1)) {
            fail("%s: not ADDRESS:PORT", text);
        }
        if (strchr(text, '.') && strcmp(text, "0.0.0.0")) {
            memset(&target.address.s6_addr[10], 0xff, 2);
        }
        target.port = atoi(colon + 1);
    }
    return target;
}

/* True if 'command' changed 'tables'. */
static bool
change_tables(const char *command, struct host_tables *tables)
{
    if (!strcmp(command, "identity")) {
        next_setting(&tables->settings.identity_v4,
                     &tables->settings.identity_v6);
    } else if (!strcmp(command, "resolver")) {
        next_setting(&tables->settings.resolver_v4,
                     &tables->settings.resolver_v6);
    } else if (!strcmp(command, "prefer-v6")) {
        tables->settings.prefer_v6 = atoi(next_argument());
    } else if (!strcmp(command, "port")) {
        tables->settings.sal_port = atoi(next_argument());
    } else if (!strcmp(command, "endpoint")) {
        const char *hex = next_argument();
        for (int i = 0; i < SAL_ENDPOINT_ID_LEN && hex[2 * i]; i++) {
            bool ok;
            tables->settings.endpoint_id[i] =
                hexits_value(hex + 2 * i, 2, &ok);
        }
    } else if (!strcmp(command, "address")) {
        struct service_address address = {.address = next_address()};
        address.id = next_prefix().id;
        host_tables_put_address(tables, &address);
    } else if (!strcmp(command, "rule")) {
        struct service_rule rule = next_rule();
        host_tables_put_rule(tables, &rule);
    } else if (!strcmp(command, "target")) {
        struct local_target target = next_target(true);
        host_tables_put_target(tables, &target);
    } else if (!strcmp(command, "no-address")) {
        struct in6_addr address = next_address();
        host_tables_remove_address(tables, &address);
    } else if (!strcmp(command, "no-rule")) {
        struct service_prefix prefix = next_prefix();
        host_tables_remove_rule(tables, &prefix);
    } else if (!strcmp(command, "no-target")) {
        struct local_target target = next_target(false);
        host_tables_remove_target(tables, &target);
    } else {
        return false;
    }
    return true;
}

static void
apply(struct datapath *dp, const struct host_tables *desired)
{
    struct host_tables installed;
    struct host_tables_diff diff, rest;
    char *error;

    datapath_installed(dp, &installed);
    host_tables_diff(&installed, desired, &diff);
    if (datapath_apply(dp, &diff, &error)) {
        fail("%s", error);
    }
    host_tables_destroy(&installed);
    datapath_installed(dp, &installed);
    host_tables_diff(&installed, desired, &rest);
    if (!host_tables_diff_is_empty(&rest)) {
        fail("what was applied is not what is installed");
    }
    host_tables_destroy(&installed);
    host_tables_diff_destroy(&diff);
    host_tables_diff_destroy(&rest);
}

static void
dump(struct datapath *dp,
     void (*format)(struct datapath *, bool json, struct ds *))
{
    struct ds out = DS_EMPTY_INITIALIZER;
    format(dp, true, &out);
    fputs(ds_cstr(&out), stdout);
    ds_destroy(&out);
}

static void
hold_send(const void *frame, size_t len, uint32_t mark, void *dp)
{
    int error = datapath_held_send(dp, frame, len, mark);
    if (error) {
        fail("cannot send what was held: %s", strerror(-error));
    }
}

/* Nobody is there to ask. */
static void
hold_ask(const struct service_id *id OVS_UNUSED, void *dp OVS_UNUSED)
{
}

static void
hold_take(const struct sal_held *held, void *frame, void *holder)
{
    holder_take(holder, held, frame, time_msec());
}

/* What the daemon does with held packets. */
static void
hold(struct datapath *dp)
{
    static const struct holder_ops ops = {.resolve = hold_ask,
                                          .send = hold_send};
    struct pollfd fds[] = {{.fd = datapath_held_fd(dp), .events = POLLIN},
                           {.fd = STDIN_FILENO, .events = POLLIN}};
    struct holder holder;

    holder_init(&holder, &ops, dp);
    while (!fds[1].revents && poll(fds, 2, 50) >= 0) {
        datapath_held_take(dp, hold_take, &holder);
        holder_run(&holder, time_msec());
    }
    printf("{\"held\": %"PRIu64", \"sent\": %"PRIu64", \"refused\": %"PRIu64
           ", \"timed_out\": %"PRIu64", \"full\": %"PRIu64"}\n",
           holder.stats.held, holder.stats.sent, holder.stats.refused,
           holder.stats.timed_out, holder.stats.full);
    holder_destroy(&holder);
}

static void
run_command(struct datapath *dp, const char *command)
{
    struct host_tables tables;
    char *error = NULL;

    datapath_installed(dp, &tables);
    if (change_tables(command, &tables)) {
        apply(dp, &tables);
    } else if (!strcmp(command, "attach") || !strcmp(command, "detach")) {
        const char *name = next_argument();
        int ifindex = if_nametoindex(name);
        if (!ifindex) {
            fail("%s: no such interface", name);
        }
        if (*command == 'a' && datapath_attach(dp, ifindex, &error)) {
            fail("%s", error);
        } else if (*command == 'd') {
            datapath_detach(dp, ifindex);
        }
    } else if (!strcmp(command, "uplink")) {
        const char *name = next_argument();
        uint32_t weight = atoi(next_argument());
        bool nat = *arguments && !strcmp(*arguments, "nat");
        arguments += nat;
        if (datapath_set_uplink(dp, if_nametoindex(name), weight, nat)) {
            fail("%s: not attached", name);
        }
    } else if (!strcmp(command, "layout")) {
        struct sal_settings settings;
        datapath_get_settings(dp, &settings);
        settings.layout = atoi(next_argument());
        datapath_put_settings(dp, &settings);
    } else if (!strcmp(command, "fill")) {
        int failed = fill_flows(dp, atoi(next_argument()));
        if (failed) {
            fail("fill: %s", ovs_strerror(-failed));
        }
    } else if (!strcmp(command, "status")) {
        dump(dp, datapath_format_status);
    } else if (!strcmp(command, "flows")) {
        dump(dp, datapath_format_flows);
    } else if (!strcmp(command, "counters")) {
        dump(dp, datapath_format_counters);
    } else if (!strcmp(command, "hold")) {
        hold(dp);
    } else {
        fail("%s: no such command", command);
    }
    host_tables_destroy(&tables);
}

/* Whether 'commands' do without programs. */
static bool
only_look(char **commands)
{
    for (char **c = commands; *c; c++) {
        if (strcmp(*c, "flows") && strcmp(*c, "counters")
            && strcmp(*c, "remove")) {
            return false;
        }
    }
    return true;
}

int
main(int argc, char *argv[])
{
    struct datapath *dp;
    char *error = NULL;

    if (argc < 3) {
        fail("usage: dpctl PIN_PATH DEVICE COMMAND...");
    }
    struct datapath_config config = {
        .pin_path = argv[1], .device = argv[2], .max_flows = 65536};
    const char *ingress = getenv("SALIENT_INGRESS");
    if (ingress) {
        config.ingress = !strcmp(ingress, "xdp") ? DATAPATH_INGRESS_XDP
                                                 : DATAPATH_INGRESS_TC;
    }
    arguments = argv + 3;
    if (only_look(arguments) ? datapath_peek(config.pin_path, &dp, &error)
                             : datapath_open(&config, &dp, &error)) {
        fail("%s", error);
    }
    while (*arguments) {
        const char *command = next_argument();
        if (!strcmp(command, "remove")) {
            datapath_remove(dp);
            return EXIT_SUCCESS;
        }
        run_command(dp, command);
    }
    datapath_close(dp);
    return EXIT_SUCCESS;
}
