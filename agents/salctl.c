/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of Salient: hands its arguments to the agent's control
 * socket, or ("controller ...") to the controller's. */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agents/agent_config.h"
#include "openvswitch/util.h"
#include "proto/daemon/control.h"
#include "proto/daemon/daemon.h"
#include "util.h"

/* Of a command that ends only when it is interrupted. */
#define FOLLOW_TIMEOUT_MS INT_MAX

#define DEFAULT_TIMEOUT_MS 40000 /* More than --wait waits. */

enum { EXIT_USAGE = 2 };

struct command {
    const char *name; /* One or two words. */
    const char *usage;
    const char *help; /* First line short, then what a user must know. */
};

static const struct command commands[] = {
    {"status", "",
     "what the agent does and how it fares\n\n"
     "Shows the controller's state, the identity address, the uplinks with\n"
     "their locators and whether the network sees them, the data plane.\n"},
    {"register",
     "NAME|ID[:PORT] [--port N] [--protocol tcp|udp] [--target ADDR:PORT]\n"
     "           [--weight W] [--priority P] [--capacity C] [--wait]",
     "serve NAME on this host\n\n"
     "  --port N       port that clients connect to; or write NAME:PORT\n"
     "  --protocol P   tcp (default) or udp\n"
     "  --target T     where the server listens: ADDR:PORT, or PORT at the\n"
     "                 identity address; default: the same port\n"
     "  --weight W     0 to 65535, relative to other hosts, default 1;\n"
     "                 0 drains: no new connections\n"
     "  --priority P   where the service's policy is failover: the lowest\n"
     "                 number serves, 0 to 65535, default 0\n"
     "  --capacity C   where it is local-first: what this host takes at most,\n"
     "                 in the unit of weights; default 0: no limit\n"
     "  --wait         return when the switches have confirmed\n\n"
     "It is served until unregistered, also after a restart of the agent.\n"
     "To change weight or target, register again.  ID (0x.../LEN) is a\n"
     "service prefix without a name, such as a range of a sharded service's\n"
     "keys.\n"},
    {"unregister", "NAME|ID[:PORT] [--port N] [--protocol tcp|udp] [--wait]",
     "serve NAME no longer on this host\n\n"
     "PORT may be left out if NAME is registered with one port only.  A\n"
     "service of the configuration file is back after a reload or restart.\n"},
    {"show services", "",
     "services of this host: targets, weights, state at the controller\n"},
    {"show names", "",
     "all services' names, service addresses and service IDs\n"},
    {"flows", "[KEY=VALUE]... [--limit N] [--count]",
     "flows of the data plane\n\n"
     "Only those that fit all filters:\n"
     "  state=STATE      half-open, bound or closing\n"
     "  role=ROLE        client or server\n"
     "  service=NAME     and what is below it; or a service ID\n"
     "  peer=LOCATOR     the peer's outer address\n"
     "  address=ADDRESS  either inner address\n"
     "  port=PORT        either inner port\n"
     "  proto=PROTO      tcp or udp\n"
     "  --limit N        at most N, default 10000\n"
     "  --count          only how many\n"},
    {"show flows", "[KEY=VALUE]... [--limit N] [--count]",
     "the same as flows\n"},
    {"top", "[N]",
     "the N (default 20) busiest flows\n\n"
     "Measured over a second, in both directions, payload and inner headers.\n"
     "\"watch -n 0 salctl top\" repeats it.\n"},
    {"peer", "LOCAL:PORT REMOTE:PORT",
     "the other end of a connection\n\n"
     "Addresses as the application's socket has them (\"ss -tn\").\n"},
    {"migrate",
     "flow ID|interface IF|peer EID|service NAME [--to IF] [--wait]",
     "move running flows to another uplink\n\n"
     "  flow ID        one flow, as \"salctl flows\" shows its ID\n"
     "  interface IF   all flows that leave by IF\n"
     "  peer EID       all flows with the endpoint\n"
     "  service NAME   all flows of the service, as its client or server\n"
     "  --to IF        where to; default: the best of the other uplinks\n"
     "  --wait         return when the peers have confirmed, or 10 s later\n\n"
     "They stay there until that uplink fails or another command moves them.\n"
     "Prints how many groups of flows (and how many flows) are moved and, with\n"
     "--wait, how many were confirmed, and how long the slowest took.\n"},
    {"events", "[--follow]",
     "moves of flows, the last 512\n\n"
     "  --follow       those to come, until interrupted\n\n"
     "With --json one object a line: time_ms (Unix), event (moving, moved,\n"
     "peer-moved, held, reverted), reason, peer, group, flows, own_from, own_to,\n"
     "peer_from, peer_to (locators), interface_from, interface_to,\n"
     "duration_ms.\n"},
    {"show groups", "",
     "peers and groups of flows that move together, state of migration\n"},
    {"metrics", "", "figures in Prometheus' text format\n"},
    {"rotate-key", "",
     "a new key for flow IDs and nonces\n\n"
     "It is also replaced every key_rotation.  Flows do not notice.\n"},
    {"show counters", "", "counters of data plane and name server\n"},
    {"show status", "", "the same as status; also plain \"show\"\n"},
    {"route add",
     "NAME|ID|endpoint:EID|endpoint:any [LOCATOR[,WEIGHT]]... "
     "[--action forward|delay|reject|drop] "
     "[--datagram] [--path-class N] [--address A]",
     "say where the service NAME is, or what to do with it\n\n"
     "Connections go to one of the LOCATORs, in proportion to their weights\n"
     "(default 1): the hosts that serve it, or service routers.  Without any\n"
     "they go to the resolver address.\n\n"
     "endpoint:EID is a host: the LOCATORs are where it may be when it has\n"
     "moved; endpoint:any leaves all hosts to a service router, which is told\n"
     "where this one is.\n\n"
     "  --action A      forward (default); delay: ask the controller first;\n"
     "                  reject; drop\n"
     "  --datagram      UDP: each datagram is resolved by itself\n"
     "  --path-class N  0 to 15: how its packets travel\n"
     "  --address A     what NAME resolves to on this host, if there is no\n"
     "                  controller; default: an address of the agent's choice\n\n"
     "It stays until deleted, also after a restart, and overrules what the\n"
     "configuration file and the controller say of the same prefix.\n"},
    {"route del", "NAME|ID|endpoint:EID|endpoint:any", "undo \"route add\"\n"},
    {"show routes", "",
     "what is said about where services are: by the controller, as answers to\n"
     "questions (resolved), in the configuration file, by salctl\n"},
    {"show rules", "",
     "the service table of the data plane: how often each rule was used, its\n"
     "action, its locators; --json also tells the local targets\n"},
    {"show leases", "",
     "host-local addresses of names below services\n"},
    {"resolve", "NAME|ID",
     "service address and service ID of a name\n\n"
     "NAME with or without the DNS suffix.  A name below a service that\n"
     "somebody serves, and any service ID (0x...), gets an address that is\n"
     "good on this host only.\n"},
    {"trace", "SERVICE --from HOST [--protocol tcp|udp] [--port N] [--entropy N]",
     "which way a connection's first packet takes, and why\n\n"
     "Asks the controller (\"controller trace\" is the same): each switch, the\n"
     "rules met, groups and buckets, the instance and the weights.\n"
     "  --from HOST    an endpoint's name, ID, or locator\n"
     "  --port N       also whether the instance serves that port\n"
     "  --entropy N    UDP source port of the SYN, 0 to 65535, default 49152;\n"
     "                 its low bits choose the instance\n"},
    {"controller", "COMMAND...",
     "a command for the controller\n\n"
     "\"salctl controller help\" lists them.\n"},
};

static void
print_help(FILE *file)
{
    fprintf(file,
            "salctl: asks and tells Salient's agent and controller\n\n"
            "usage: salctl [OPTION]... COMMAND [ARGUMENT]...\n\n"
            "commands:\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        fprintf(file, "  %-15s %.*s\n", commands[i].name,
                (int) strcspn(commands[i].help, "\n"), commands[i].help);
    }
    fprintf(file,
            "\noptions, before the command:\n"
            "  -s, --socket PATH  control socket; default $SALIENT_SOCKET or\n"
            "                     %s; for \"controller\"\n"
            "                     $SALIENT_CONTROLLER_SOCKET or\n"
            "                     %s\n"
            "  -j, --json         JSON output\n"
            "  -t, --timeout SEC  patience, default %d\n"
            "  -h, --help         this text; \"salctl COMMAND --help\" tells "
            "more\n"
            "  -V, --version      version\n\n"
            "exit status: 0 done, 1 failed, 2 wrong usage, 3 daemon not "
            "reached\n", AGENT_CONTROL_SOCKET, CONTROLLER_CONTROL_SOCKET,
            DEFAULT_TIMEOUT_MS / 1000);
}

/* Does argv start with the words of 'name'? */
static bool
matches(const char *name, int argc, char *argv[])
{
    const char *space = strchr(name, ' ');
    size_t first = space ? space - name : strlen(name);

    if (argc < 1 || strlen(argv[0]) != first
        || strncmp(argv[0], name, first)) {
        return false;
    }
    return !space || (argc > 1 && !strcmp(argv[1], space + 1));
}

static bool
is_help(const char *arg)
{
    return !strcmp(arg, "--help") || !strcmp(arg, "-h");
}

/* "salctl show --help" tells about all that begin with "show". */
static int
print_command_help(int argc, char *argv[])
{
    bool found = false;

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct command *c = &commands[i];
        size_t len = strlen(argv[0]);
        bool family = (!strncmp(c->name, argv[0], len) && c->name[len] == ' '
                       && (argc < 2 || is_help(argv[1])));
        if (family || matches(c->name, argc, argv)) {
            printf("%susage: salctl %s %s\n\n%s", found ? "\n" : "", c->name,
                   c->usage, c->help);
            found = true;
        }
    }
    if (!found) {
        fprintf(stderr, "salctl: no command \"%s\"; see salctl --help\n",
                argv[0]);
    }
    return found ? EXIT_SUCCESS : EXIT_USAGE;
}

static void OVS_NO_RETURN
usage_error(const char *what, const char *arg)
{
    fprintf(stderr, "salctl: %s%s%s; see salctl --help\n", what,
            arg ? " " : "", arg ? arg : "");
    exit(EXIT_USAGE);
}

struct options {
    const char *socket;
    bool json;
    unsigned int timeout_ms;
};

static void
take_value(char option, const char *value, struct options *options)
{
    unsigned int seconds;

    if (option == 's') {
        options->socket = value;
    } else if (str_to_uint(value, 10, &seconds) && seconds
               && seconds <= 86400) {
        options->timeout_ms = seconds * 1000;
    } else {
        usage_error("--timeout is not 1 to 86400 seconds:", value);
    }
}

/* Our options end where the command begins: those behind it are the
 * command's.  Returns the index of the command. */
static int
parse_options(int argc, char *argv[], struct options *options)
{
    static const struct {
        const char *long_name;
        char letter;
        bool value;
    } known[] = {
        {"--socket", 's', true},   {"--json", 'j', false},
        {"--timeout", 't', true},  {"--help", 'h', false},
        {"--version", 'V', false},
    };
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        char letter = argv[i][1] != '-' && !argv[i][2] ? argv[i][1] : 0;
        const char *equals = letter ? NULL : strchr(argv[i], '=');
        size_t len = equals ? equals - argv[i] : strlen(argv[i]);
        size_t k;

        for (k = 0; k < ARRAY_SIZE(known); k++) {
            if (letter ? known[k].letter == letter
                       : (strlen(known[k].long_name) == len
                          && !strncmp(known[k].long_name, argv[i], len))) {
                break;
            }
        }
        if (k == ARRAY_SIZE(known) || (equals && !known[k].value)) {
            usage_error("unknown option", argv[i]);
        }
        if (known[k].value) {
            if (!equals && i + 1 >= argc) {
                usage_error("a value is missing after", argv[i]);
            }
            take_value(known[k].letter, equals ? equals + 1 : argv[++i],
                       options);
        } else if (known[k].letter == 'j') {
            options->json = true;
        } else if (known[k].letter == 'h') {
            print_help(stdout);
            exit(EXIT_SUCCESS);
        } else {
            printf("salctl %s\n", SALIENT_VERSION);
            exit(EXIT_SUCCESS);
        }
    }
    return i;
}

static const char *
socket_path(const struct options *options, bool controller)
{
    const char *env = getenv(controller ? "SALIENT_CONTROLLER_SOCKET"
                                        : "SALIENT_SOCKET");
    return (options->socket ? options->socket
            : env && env[0] ? env
            : controller    ? CONTROLLER_CONTROL_SOCKET
                            : AGENT_CONTROL_SOCKET);
}

/* An agent's command that does not exist is told from here, even if no agent
 * runs. */
static void
check_command(int argc, char *argv[])
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (matches(commands[i].name, argc, argv)) {
            return;
        }
    }
    if (argc == 1 && !strcmp(argv[0], "show")) {
        return;
    }
    if (!strcmp(argv[0], "help")) {
        print_help(stdout);
        exit(EXIT_SUCCESS);
    }
    char *words = (argc > 1 && !strcmp(argv[0], "show")
                       ? xasprintf("\"%s %s\"", argv[0], argv[1])
                       : xasprintf("\"%s\"", argv[0]));
    usage_error("no command", words);
}

int
main(int argc, char *argv[])
{
    struct options options = {.timeout_ms = DEFAULT_TIMEOUT_MS};
    int i = parse_options(argc, argv, &options);

    argc -= i;
    argv += i;
    if (!argc) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    bool controller = !strcmp(argv[0], "controller");
    for (int k = 1; k < argc && (!controller || k == 1); k++) {
        if (is_help(argv[k])) {
            return print_command_help(argc, argv);
        }
    }
    check_command(argc, argv);
    const char *path = socket_path(&options,
                                   controller || !strcmp(argv[0], "trace"));
    if (argc > 1 && !strcmp(argv[0], "events")
        && !strcmp(argv[1], "--follow")) {
        options.timeout_ms = FOLLOW_TIMEOUT_MS;
    }
    if (controller) {
        if (argc < 2) {
            usage_error("what shall the controller do? write \"controller "
                        "help\"", NULL);
        }
        argc--;
        argv++;
    }
    return control_call_blocking(path, argc, (const char *const *) argv,
                                 options.json, options.timeout_ms);
}
