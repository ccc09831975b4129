/* SPDX-License-Identifier: Apache-2.0 */
/* A port without a wire, to measure what the switch itself costs.
 *
 * Linked into ovs-vswitchd, it adds the port type "bench": a poll-mode port
 * whose packets come out of a pcap file in memory and whose output is counted
 * and freed.  No system call, no other process and no kernel is part of what
 * is measured, and a port that always has a full batch ready keeps the thread
 * that polls it busy, so that its CPU time divided by the number of packets is
 * the cost of one packet, whatever else the machine does meanwhile.
 *
 * Commands (ovs-appctl):
 *
 *     bench/run PORT PCAP COUNT    feeds COUNT packets of the file into PORT,
 *                                  from where the last run of the file ended,
 *                                  and prints "CPU_NS WALL_NS SENT"
 *     bench/rewind PCAP            begins the file anew
 *     bench/memory                 prints the bytes that malloc() gave out
 *
 * Under valgrind --tool=callgrind --collect-atstart=no only the polling thread
 * is counted, from the first packet of a run to the last and without this port
 * itself; each run is dumped by itself.
 *
 * Threads: the commands run in the main thread, netdev_bench_rxq_recv() in a
 * PMD thread, netdev_bench_send() in any.  The one run at a time belongs to
 * the main thread, which waits for it; the polling thread has the use of it
 * from 'bench_run' being set until it signals 'done'. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include "dp-packet.h"
#include "dpif-netdev.h"
#include "netdev-provider.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/shash.h"
#include "openvswitch/thread.h"
#include "ovs-atomic.h"
#include "ovs-rcu.h"
#include "packets.h"
#include "unixctl.h"
#include "util.h"

#define PCAP_HEADER_LEN 24
#define PCAP_RECORD_LEN 16 /* Two words of time, captured and real length. */

struct pool {
    const uint8_t *data;
    size_t size;
    size_t next; /* Offset of the next record. */
};

struct run {
    const struct netdev *port;
    struct pool *pool;
    unsigned long long left;
    bool started, ended;
    uint64_t cpu_ns, wall_ns;
    struct ovs_mutex mutex;
    pthread_cond_t cond;
    bool done OVS_GUARDED;
};

struct netdev_bench {
    struct netdev up;
    struct eth_addr hwaddr;
    enum netdev_flags flags;
    int requested_n_txq;
    atomic_ullong tx_packets;
};

static ATOMIC(struct run *) bench_run;
static atomic_ullong bench_sent;
static struct shash pools = SHASH_INITIALIZER(&pools);

static struct netdev_bench *
netdev_bench_cast(const struct netdev *netdev)
{
    return CONTAINER_OF(netdev, struct netdev_bench, up);
}

static uint64_t
clock_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec;
}

/* Packets. */

static struct pool *
pool_get(const char *path, char **ret_error)
{
    struct pool *pool = shash_find_data(&pools, path);
    if (pool) {
        return pool;
    }

    struct stat st;
    void *data = MAP_FAILED;
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && !fstat(fd, &st) && st.st_size > PCAP_HEADER_LEN) {
        data = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE,
                    fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (data == MAP_FAILED) {
        *ret_error = xasprintf("%s: cannot read packets", path);
        return NULL;
    }
    pool = xmalloc(sizeof *pool);
    *pool = (struct pool) {data, st.st_size, PCAP_HEADER_LEN};
    shash_add(&pools, path, pool);
    return pool;
}

static struct dp_packet *
pool_next(struct pool *pool)
{
    uint32_t length;

    if (pool->next + PCAP_RECORD_LEN >= pool->size) {
        pool->next = PCAP_HEADER_LEN;
    }
    memcpy(&length, pool->data + pool->next + 8, sizeof length);
    const uint8_t *frame = pool->data + pool->next + PCAP_RECORD_LEN;
    pool->next += PCAP_RECORD_LEN + length;
    return dp_packet_clone_data_with_headroom(frame, length,
                                              DP_NETDEV_HEADROOM);
}

/* True in the polling thread during a run.  What the port does is left out:
 * malloc() takes half a percent more or less of it as the heap happens to be,
 * which is more than what is looked for. */
static __thread bool counting;

static void
pause_counting(void)
{
    if (counting) {
        CALLGRIND_TOGGLE_COLLECT;
    }
}

static void
resume_counting(void)
{
    pause_counting();
}

static void
run_start(struct run *run)
{
    run->started = true;
    run->wall_ns = clock_ns(CLOCK_MONOTONIC);
    run->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_TOGGLE_COLLECT;
    counting = true;
}

static void
run_end(struct run *run)
{
    counting = false;
    CALLGRIND_TOGGLE_COLLECT;
    CALLGRIND_STOP_INSTRUMENTATION;
    CALLGRIND_DUMP_STATS;
    run->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - run->cpu_ns;
    run->wall_ns = clock_ns(CLOCK_MONOTONIC) - run->wall_ns;
    run->ended = true;
}

static void
run_report(struct run *run)
{
    atomic_store(&bench_run, NULL);
    ovs_mutex_lock(&run->mutex);
    run->done = true;
    xpthread_cond_signal(&run->cond);
    ovs_mutex_unlock(&run->mutex);
}

static int
netdev_bench_rxq_recv(struct netdev_rxq *rxq, struct dp_packet_batch *batch,
                      int *qfill)
{
    struct run *run;

    atomic_read_explicit(&bench_run, &run, memory_order_acquire);
    if (!run) {
        /* Leave the CPU to the switch that is compared with this one, and do
         * not hold up who waits for RCU: the caller itself quiesces only every
         * 1,024 polls. */
        ovsrcu_quiesce_start();
        nanosleep(&(struct timespec) {.tv_nsec = 200000}, NULL);
        ovsrcu_quiesce_end();
        return EAGAIN;
    }
    if (run->port != rxq->netdev) {
        return EAGAIN;
    }
    if (!run->started) {
        run_start(run);
    } else if (!run->left) {
        /* All packets of earlier calls are processed and sent by now, but the
         * statistics follow only at the end of a round of all ports. */
        if (!run->ended) {
            run_end(run);
        } else {
            run_report(run);
        }
        return EAGAIN;
    }

    size_t n = MIN(run->left, NETDEV_MAX_BURST);
    run->left -= n;
    pause_counting();
    for (size_t i = 0; i < n; i++) {
        batch->packets[i] = pool_next(run->pool);
    }
    resume_counting();
    batch->count = n;
    if (qfill) {
        *qfill = -ENOTSUP;
    }
    return 0;
}

static int
netdev_bench_send(struct netdev *netdev, int qid OVS_UNUSED,
                  struct dp_packet_batch *batch,
                  bool concurrent_txq OVS_UNUSED)
{
    unsigned long long orig;

    atomic_add_relaxed(&bench_sent, dp_packet_batch_size(batch), &orig);
    atomic_add_relaxed(&netdev_bench_cast(netdev)->tx_packets,
                       dp_packet_batch_size(batch), &orig);
    pause_counting();
    dp_packet_delete_batch(batch, true);
    resume_counting();
    return 0;
}

/* The rest of a port. */

static struct netdev *
netdev_bench_alloc(void)
{
    struct netdev_bench *dev = xzalloc(sizeof *dev);
    return &dev->up;
}

static int
netdev_bench_construct(struct netdev *netdev)
{
    static uint8_t n;
    struct netdev_bench *dev = netdev_bench_cast(netdev);

    dev->hwaddr = (struct eth_addr) ETH_ADDR_C(02,be,0c,00,00,00);
    dev->hwaddr.ea[5] = ++n;
    dev->flags = NETDEV_UP;
    dev->requested_n_txq = netdev->n_txq;
    atomic_init(&dev->tx_packets, 0);
    return 0;
}

static void
netdev_bench_destruct(struct netdev *netdev OVS_UNUSED)
{
}

static void
netdev_bench_dealloc(struct netdev *netdev)
{
    free(netdev_bench_cast(netdev));
}

static int
netdev_bench_get_numa_id(const struct netdev *netdev OVS_UNUSED)
{
    return 0;
}

static int
netdev_bench_set_tx_multiq(struct netdev *netdev, unsigned int n_txq)
{
    netdev_bench_cast(netdev)->requested_n_txq = n_txq;
    netdev_request_reconfigure(netdev);
    return 0;
}

static int
netdev_bench_reconfigure(struct netdev *netdev)
{
    netdev->n_txq = netdev_bench_cast(netdev)->requested_n_txq;
    return 0;
}

static int
netdev_bench_set_etheraddr(struct netdev *netdev, const struct eth_addr mac)
{
    netdev_bench_cast(netdev)->hwaddr = mac;
    return 0;
}

static int
netdev_bench_get_etheraddr(const struct netdev *netdev, struct eth_addr *mac)
{
    *mac = netdev_bench_cast(netdev)->hwaddr;
    return 0;
}

static int
netdev_bench_get_mtu(const struct netdev *netdev OVS_UNUSED, int *ret_mtu)
{
    *ret_mtu = ETH_PAYLOAD_MAX;
    return 0;
}

static int
netdev_bench_get_stats(const struct netdev *netdev,
                       struct netdev_stats *stats)
{
    unsigned long long n;

    memset(stats, 0, sizeof *stats);
    atomic_read_relaxed(&netdev_bench_cast(netdev)->tx_packets, &n);
    stats->tx_packets = n;
    return 0;
}

static int
netdev_bench_update_flags(struct netdev *netdev, enum netdev_flags off,
                          enum netdev_flags on, enum netdev_flags *ret_old)
{
    struct netdev_bench *dev = netdev_bench_cast(netdev);

    *ret_old = dev->flags;
    dev->flags = (dev->flags | on) & ~off;
    if (*ret_old != dev->flags) {
        netdev_change_seq_changed(netdev);
    }
    return 0;
}

static struct netdev_rxq *
netdev_bench_rxq_alloc(void)
{
    return xzalloc(sizeof(struct netdev_rxq));
}

static int
netdev_bench_rxq_construct(struct netdev_rxq *rxq OVS_UNUSED)
{
    return 0;
}

static void
netdev_bench_rxq_destruct(struct netdev_rxq *rxq OVS_UNUSED)
{
}

static void
netdev_bench_rxq_dealloc(struct netdev_rxq *rxq)
{
    free(rxq);
}

static const struct netdev_class netdev_bench_class = {
    .type = "bench",
    .is_pmd = true,
    .alloc = netdev_bench_alloc,
    .construct = netdev_bench_construct,
    .destruct = netdev_bench_destruct,
    .dealloc = netdev_bench_dealloc,
    .get_numa_id = netdev_bench_get_numa_id,
    .set_tx_multiq = netdev_bench_set_tx_multiq,
    .reconfigure = netdev_bench_reconfigure,
    .send = netdev_bench_send,
    .set_etheraddr = netdev_bench_set_etheraddr,
    .get_etheraddr = netdev_bench_get_etheraddr,
    .get_mtu = netdev_bench_get_mtu,
    .get_stats = netdev_bench_get_stats,
    .update_flags = netdev_bench_update_flags,
    .rxq_alloc = netdev_bench_rxq_alloc,
    .rxq_construct = netdev_bench_rxq_construct,
    .rxq_destruct = netdev_bench_rxq_destruct,
    .rxq_dealloc = netdev_bench_rxq_dealloc,
    .rxq_recv = netdev_bench_rxq_recv,
};

/* Commands. */

/* Waits without holding up RCU, or a revalidator that synchronizes would wait
 * for us and the polling thread for it. */
static void
run_wait(struct run *run)
{
    ovsrcu_quiesce_start();
    ovs_mutex_lock(&run->mutex);
    while (!run->done) {
        ovs_mutex_cond_wait(&run->cond, &run->mutex);
    }
    ovs_mutex_unlock(&run->mutex);
    ovsrcu_quiesce_end();
}

static void
bench_unixctl_run(struct unixctl_conn *conn, int argc OVS_UNUSED,
                  const char *argv[], void *aux OVS_UNUSED)
{
    unsigned long long before, after;
    char *error = NULL;
    struct netdev *port = netdev_from_name(argv[1]);
    struct pool *pool = pool_get(argv[2], &error);

    if (!port || !pool || port->netdev_class != &netdev_bench_class) {
        unixctl_command_reply_error(conn, error ? error : "no such port");
        free(error);
        netdev_close(port);
        return;
    }
    struct run run = {
        .port = port, .pool = pool, .left = strtoull(argv[3], NULL, 10),
    };
    ovs_mutex_init(&run.mutex);
    xpthread_cond_init(&run.cond, NULL);
    atomic_read(&bench_sent, &before);
    atomic_store(&bench_run, &run);
    run_wait(&run);
    atomic_read(&bench_sent, &after);

    char *reply = xasprintf("%"PRIu64" %"PRIu64" %llu", run.cpu_ns,
                            run.wall_ns, after - before);
    unixctl_command_reply(conn, reply);
    free(reply);
    xpthread_cond_destroy(&run.cond);
    ovs_mutex_destroy(&run.mutex);
    netdev_close(port);
}

static void
bench_unixctl_rewind(struct unixctl_conn *conn, int argc OVS_UNUSED,
                     const char *argv[], void *aux OVS_UNUSED)
{
    struct pool *pool = shash_find_data(&pools, argv[1]);
    if (pool) {
        pool->next = PCAP_HEADER_LEN;
    }
    unixctl_command_reply(conn, NULL);
}

static void
bench_unixctl_memory(struct unixctl_conn *conn, int argc OVS_UNUSED,
                     const char *argv[] OVS_UNUSED, void *aux OVS_UNUSED)
{
    struct mallinfo2 info = mallinfo2();
    char *reply = xasprintf("%"PRIuSIZE, info.uordblks + info.hblkhd);

    unixctl_command_reply(conn, reply);
    free(reply);
}

/* bridge_init() is the first thing main() calls that we can stand before
 * (ld --wrap): Open vSwitch has no list of port types to add to. */
void __real_bridge_init(const char *remote);
void __wrap_bridge_init(const char *remote);

void
__wrap_bridge_init(const char *remote)
{
    netdev_register_provider(&netdev_bench_class);
    unixctl_command_register("bench/run", "port pcap count", 3, 3,
                             bench_unixctl_run, NULL);
    unixctl_command_register("bench/rewind", "pcap", 1, 1,
                             bench_unixctl_rewind, NULL);
    unixctl_command_register("bench/memory", "", 0, 0,
                             bench_unixctl_memory, NULL);
    __real_bridge_init(remote);
}
