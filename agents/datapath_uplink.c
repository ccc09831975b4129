/* SPDX-License-Identifier: Apache-2.0 */
/* Uplinks: which interfaces carry SAL, with which addresses. */
#include "agents/datapath_private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agents/sal.skel.h"
#include "agents/uplink_policy.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(datapath_uplink);

/* Removes the addresses of 'ifindex' that are not in 'keep' (NULL: all). */
static void
remove_locators(struct datapath *dp, int ifindex,
                const struct device_info *keep)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_locators);
    struct sal_addr gone[256], key;
    size_t n_gone = 0;
    void *prev = NULL;

    for (int i = 0; i < 256 && !bpf_map_get_next_key(fd, prev, &key); i++) {
        uint32_t owner;
        prev = &key;
        if (bpf_map_lookup_elem(fd, &key, &owner) || owner != ifindex) {
            continue;
        }
        bool kept = false;
        for (size_t j = 0; keep && j < keep->n_addresses; j++) {
            kept |= !memcmp(&keep->addresses[j].address, &key, sizeof key);
        }
        if (!kept) {
            gone[n_gone++] = key;
        }
    }
    for (size_t i = 0; i < n_gone; i++) {
        bpf_map_delete_elem(fd, &gone[i]);
    }
}

static int
put_locators(struct datapath *dp, const struct device_info *info)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_locators);
    remove_locators(dp, info->ifindex, info);
    for (size_t i = 0; i < info->n_addresses; i++) {
        struct sal_addr key;
        uint32_t ifindex = info->ifindex;
        addr_from_in6(&key, &info->addresses[i].address);
        int error = bpf_map_update_elem(fd, &key, &ifindex, BPF_ANY);
        if (error) {
            return error;
        }
    }
    return 0;
}

/* All zero if 'info' has no locator of the IP version. */
static void
locator_of(const struct device_info *info, bool v6, struct sal_addr *addr)
{
    const struct in6_addr *locator = device_locator(info, v6);
    memset(addr, 0, sizeof *addr);
    if (locator) {
        addr_from_in6(addr, locator);
    }
}

static bool
addr_is_set(const struct sal_addr *addr)
{
    return addr->w[0] | addr->w[1] | addr->w[2] | addr->w[3];
}

static struct datapath_uplink *
find_uplink(struct datapath *dp, int ifindex)
{
    for (size_t i = 0; i < dp->n_uplinks; i++) {
        if (dp->uplinks[i].ifindex == ifindex) {
            return &dp->uplinks[i];
        }
    }
    return NULL;
}

/* Fills the slots of which each new flow draws one. */
static int
refresh_slots(struct datapath *dp)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_uplinks);
    struct sal_uplink uplinks[DATAPATH_MAX_UPLINKS];
    uint32_t weights[DATAPATH_MAX_UPLINKS];
    uint8_t slots[SAL_UPLINK_SLOTS];
    bool weighed = false;

    memset(uplinks, 0, sizeof uplinks);
    for (size_t i = 0; i < dp->n_uplinks; i++) {
        struct device_info info;
        weights[i] = 0;
        if (!device_query(dp->uplinks[i].ifindex, &info)
            && info.n_addresses) {
            uplinks[i].ifindex = info.ifindex;
            uplinks[i].flags = dp->uplinks[i].nat ? SAL_UPLINK_NAT : 0;
            locator_of(&info, false, &uplinks[i].locator_v4);
            locator_of(&info, true, &uplinks[i].locator_v6);
            weights[i] = dp->uplinks[i].weight;
            weighed |= weights[i] > 0;
        }
    }
    if (!weighed && dp->n_uplinks) {
        weights[0] = 1;
    }
    uplink_policy_slots(weights, dp->n_uplinks, slots, ARRAY_SIZE(slots));
    for (uint32_t i = 0; i < ARRAY_SIZE(slots); i++) {
        static const struct sal_uplink none;
        int error = bpf_map_update_elem(fd, &i, slots[i] < dp->n_uplinks
                                                ? &uplinks[slots[i]] : &none,
                                        BPF_ANY);
        if (error) {
            return error;
        }
    }
    return 0;
}

/* What fits into the smallest uplink.  Flows go over IPv6 only where there is
 * somebody to resolve them and an address to be reached at. */
static int
refresh_mtu(struct datapath *dp, const struct sal_settings *settings)
{
    uint32_t overhead = addr_is_set(&settings->resolver_v6)
                        && addr_is_set(&settings->locator_v6)
                        ? DATAPATH_OVERHEAD_V6 : DATAPATH_OVERHEAD_V4;
    uint32_t mtu = settings->uplink_mtu;
    return dp->sal_ifindex && mtu > overhead + 576
           ? device_set_mtu(dp->sal_ifindex, mtu - overhead) : 0;
}

/* New flows leave by the first uplink that has an address of the IP version,
 * or by the first one; see refresh_slots(), too. */
int
uplinks_refresh(struct datapath *dp)
{
    struct sal_settings settings;
    int error = datapath_get_settings(dp, &settings);
    if (error) {
        return error;
    }
    settings.uplink_ifindex = settings.uplink_ifindex_v6 = 0;
    memset(&settings.locator_v4, 0, sizeof settings.locator_v4);
    memset(&settings.locator_v6, 0, sizeof settings.locator_v6);

    uint32_t mtu = 0;
    for (size_t i = 0; i < dp->n_uplinks; i++) {
        struct device_info info;
        if (device_query(dp->uplinks[i].ifindex, &info)) {
            continue;
        }
        if (!addr_is_set(&settings.locator_v4)) {
            locator_of(&info, false, &settings.locator_v4);
            if (!settings.uplink_ifindex
                || addr_is_set(&settings.locator_v4)) {
                settings.uplink_ifindex = info.ifindex;
            }
        }
        if (!addr_is_set(&settings.locator_v6)) {
            locator_of(&info, true, &settings.locator_v6);
            if (addr_is_set(&settings.locator_v6)) {
                settings.uplink_ifindex_v6 = info.ifindex;
            }
        }
        if (!mtu || info.mtu < mtu) {
            mtu = info.mtu;
        }
    }
    settings.uplink_mtu = MIN(mtu, UINT16_MAX);
    error = datapath_put_settings(dp, &settings);
    if (!error) {
        error = refresh_slots(dp);
    }
    return error ? error : refresh_mtu(dp, &settings);
}

/* A UDP GSO packet that arrives whole, as veth hands it over, is lost after
 * decapsulation: its segmentation type still names the tunnel.  So it is cut
 * on leaving; network cards do that anyway. */
static void
segment_udp(const struct device_info *info)
{
    if (!strcmp(info->kind, "veth")
        && device_feature_off(info->name, "tx-udp-segmentation")) {
        VLOG_WARN("%s: cannot switch UDP segmentation off; datagrams sent "
                  "with UDP_SEGMENT may get lost", info->name);
    }
}

/* XDP only adds speed, so that its absence is no error unless it was asked
 * for.  It is attached after tc, which understands its notes. */
static int
attach_xdp(struct datapath *dp, const struct device_info *info, bool *ret_xdp,
           char **ret_error)
{
    *ret_xdp = false;
    if (dp->ingress == DATAPATH_INGRESS_TC
        || (dp->ingress == DATAPATH_INGRESS_AUTO
            && !strcmp(info->kind, "veth"))) {
        xdp_detach(dp, info->ifindex);
        return 0;
    }
    int error = xdp_attach(dp, info->ifindex,
                           bpf_program__fd(dp->skeleton->progs.sal_xdp));
    if (!error) {
        *ret_xdp = true;
    } else if (dp->ingress == DATAPATH_INGRESS_XDP) {
        return datapath_error(ret_error, error,
                              "%s: no native XDP: %s; use ingress \"tc\" or "
                              "\"auto\"", info->name, strerror(-error));
    } else {
        VLOG_INFO("%s has no native XDP (%s): inner segments are not merged "
                  "on receipt", info->name, strerror(-error));
    }
    return 0;
}

int
datapath_attach(struct datapath *dp, int ifindex, char **ret_error)
{
    struct device_info info;
    *ret_error = NULL;
    int error = device_query(ifindex, &info);
    if (error) {
        return datapath_error(ret_error, error, "interface %d: %s", ifindex,
                              strerror(-error));
    }
    if (!info.ethernet) {
        return datapath_error(ret_error, -EOPNOTSUPP,
                              "%s is not an Ethernet interface; the data "
                              "plane does not support others", info.name);
    }

    struct datapath_uplink *uplink = find_uplink(dp, ifindex);
    if (!uplink && dp->n_uplinks >= ARRAY_SIZE(dp->uplinks)) {
        return datapath_error(ret_error, -ENOSPC,
                              "%s: %zu uplinks are attached already",
                              info.name, dp->n_uplinks);
    }
    if (!uplink) {
        struct hook hook = {"ingress", ifindex, true};
        struct datapath_uplink new = {.ifindex = ifindex};
        error = hook_attach(
            dp, &hook, bpf_program__fd(dp->skeleton->progs.sal_ingress),
            &new.tcx, ret_error);
        if (!error) {
            error = attach_xdp(dp, &info, &new.xdp, ret_error);
        }
        if (error) {
            return error;
        }
        dp->uplinks[dp->n_uplinks++] = new;
        segment_udp(&info);
    }
    error = put_locators(dp, &info);
    if (!error) {
        error = uplinks_refresh(dp);
    }
    return error ? datapath_error(ret_error, error,
                                  "%s: cannot record its addresses: %s",
                                  info.name, strerror(-error))
                 : 0;
}

int
datapath_set_uplink(struct datapath *dp, int ifindex, uint32_t weight,
                    bool nat)
{
    struct datapath_uplink *uplink = find_uplink(dp, ifindex);
    if (!uplink) {
        return -ENODEV;
    }
    if (uplink->weight == weight && uplink->nat == nat) {
        return 0;
    }
    uplink->weight = weight;
    uplink->nat = nat;
    return refresh_slots(dp);
}

int
datapath_detach(struct datapath *dp, int ifindex)
{
    struct datapath_uplink *uplink = find_uplink(dp, ifindex);
    struct hook hook = {"ingress", ifindex, true};
    xdp_detach(dp, ifindex);
    hook_detach(dp, &hook);
    remove_locators(dp, ifindex, NULL);
    if (uplink) {
        size_t rest = &dp->uplinks[--dp->n_uplinks] - uplink;
        memmove(uplink, uplink + 1, rest * sizeof *uplink);
    }
    return uplinks_refresh(dp);
}

void
uplinks_detach_all(struct datapath *dp)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_locators);
    struct sal_addr key;
    uint32_t ifindex;

    /* Those of this process, then those that a predecessor attached. */
    while (dp->n_uplinks) {
        datapath_detach(dp, dp->uplinks[dp->n_uplinks - 1].ifindex);
    }
    for (int i = 0; i < 256 && !bpf_map_get_next_key(fd, NULL, &key); i++) {
        if (!bpf_map_lookup_elem(fd, &key, &ifindex)) {
            datapath_detach(dp, ifindex);
        }
    }
}
