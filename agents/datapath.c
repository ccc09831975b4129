/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/datapath_private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "agents/sal.skel.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(datapath);

/* Not pinned: nothing in it lasts longer than a packet.  Neither are the
 * programs' constants. */
#define SCRATCH_MAP "sal_scratch"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int
datapath_error(char **ret_error, int error, const char *format, ...)
{
    if (ret_error && !*ret_error) {
        va_list args;
        va_start(args, format);
        *ret_error = xvasprintf(format, args);
        va_end(args);
    }
    return error;
}

static int
libbpf_log(enum libbpf_print_level level, const char *format, va_list args)
{
    if (level == LIBBPF_DEBUG || !VLOG_IS_DBG_ENABLED()) {
        return 0;
    }
    char *text = xvasprintf(format, args);
    size_t len = strlen(text);
    if (len && text[len - 1] == '\n') {
        text[len - 1] = '\0';
    }
    VLOG_DBG("%s", text);
    free(text);
    return 0;
}

int
datapath_map(const struct datapath *dp, const char *name)
{
    return bpf_object__find_map_fd_by_name(dp->skeleton->obj, name);
}

int
datapath_get_settings(const struct datapath *dp, struct sal_settings *settings)
{
    uint32_t key = 0;
    return bpf_map_lookup_elem(bpf_map__fd(dp->skeleton->maps.sal_settings),
                               &key, settings);
}

int
datapath_put_settings(const struct datapath *dp,
                      const struct sal_settings *settings)
{
    uint32_t key = 0;
    return bpf_map_update_elem(bpf_map__fd(dp->skeleton->maps.sal_settings),
                               &key, settings, BPF_ANY);
}

static int
make_pin_directory(const char *pin_path, char **ret_error)
{
    struct statfs fs;
    if (mkdir(pin_path, 0700) && errno != EEXIST) {
        int error = -errno;
        return datapath_error(ret_error, error,
                              "%s: cannot create the folder for pins: %s",
                              pin_path, strerror(errno));
    }
    if (statfs(pin_path, &fs)) {
        return datapath_error(ret_error, -errno, "%s: %s", pin_path,
                              strerror(errno));
    }
    if (fs.f_type != BPF_FS_MAGIC) {
        rmdir(pin_path);
        return datapath_error(ret_error, -EINVAL,
                              "%s is not on a bpf file system; mount one with "
                              "\"mount -t bpf bpf /sys/fs/bpf\"", pin_path);
    }
    return 0;
}

/* Whether pinned 'fd' is what 'map' is to be.  The size may differ: flows are
 * worth more than a new limit. */
static bool
map_is_compatible(int fd, struct bpf_map *map)
{
    struct bpf_map_info info = {0};
    uint32_t len = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &len)) {
        return false;
    }
    if (info.type != bpf_map__type(map)
        || info.key_size != bpf_map__key_size(map)
        || info.value_size != bpf_map__value_size(map)
        || info.map_flags != bpf_map__map_flags(map)) {
        return false;
    }
    if (!strcmp(bpf_map__name(map), "sal_settings")) {
        struct sal_settings settings;
        uint32_t key = 0;
        if (bpf_map_lookup_elem(fd, &key, &settings)
            || (settings.layout && settings.layout != SAL_MAPS_LAYOUT)) {
            return false;
        }
    }
    if (info.max_entries != bpf_map__max_entries(map)) {
        VLOG_INFO("%s keeps its size of %u entries; it changes when the data "
                  "plane is removed and made anew", bpf_map__name(map),
                  info.max_entries);
        bpf_map__set_max_entries(map, info.max_entries);
    }
    return true;
}

/* Removes all pins; what they held detaches with them. */
static void
unpin_all(const char *pin_path)
{
    DIR *dir = opendir(pin_path);
    if (!dir) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] != '.') {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    closedir(dir);
    rmdir(pin_path);
}

/* Takes over the pinned maps of a predecessor, all or none. */
static void
reuse_maps(struct datapath *dp)
{
    struct bpf_map *map;
    bool compatible = true;

    bpf_object__for_each_map(map, dp->skeleton->obj) {
        if (bpf_map__is_internal(map)
            || !strcmp(bpf_map__name(map), SCRATCH_MAP)) {
            continue;
        }
        char *path = xasprintf("%s/%s", dp->pin_path, bpf_map__name(map));
        int fd = bpf_obj_get(path);
        if (fd >= 0) {
            if (!map_is_compatible(fd, map)) {
                VLOG_WARN("%s has the layout of another version", path);
                compatible = false;
            }
            close(fd);
        }
        bpf_map__set_pin_path(map, path);
        free(path);
    }
    if (!compatible) {
        VLOG_WARN("replacing the data plane in %s: its flows end",
                  dp->pin_path);
        unpin_all(dp->pin_path);
        if (mkdir(dp->pin_path, 0700)) {
            VLOG_WARN("%s: %s", dp->pin_path, strerror(errno));
        }
    }
}

static uint64_t
netns_cookie(void)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len)) {
        cookie = 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return cookie;
}

static int
new_key(struct sal_settings *settings)
{
    return getrandom(settings->hash_key, sizeof settings->hash_key, 0)
                   == sizeof settings->hash_key ? 0 : -EIO;
}

/* A program that reads the key while it is written gets halves of two: as
 * unpredictable as either. */
int
datapath_rotate_key(struct datapath *dp)
{
    struct sal_settings settings;
    int error = datapath_get_settings(dp, &settings);
    if (!error) {
        error = new_key(&settings);
    }
    return error ? error : datapath_put_settings(dp, &settings);
}

int
datapath_set_limits(struct datapath *dp, uint32_t per_client,
                    uint32_t per_service)
{
    struct sal_settings settings;
    int error = datapath_get_settings(dp, &settings);
    if (error) {
        return error;
    }
    settings.max_flows_per_client = per_client;
    settings.max_flows_per_service = per_service;
    return datapath_put_settings(dp, &settings);
}

static int
init_settings(struct datapath *dp)
{
    struct sal_settings settings;
    int error = datapath_get_settings(dp, &settings);
    if (error) {
        return error;
    }
    settings.layout = SAL_MAPS_LAYOUT;
    settings.netns_cookie = netns_cookie();
    if (!settings.sal_port) {
        settings.sal_port = htons(SAL_UDP_PORT);
    }
    if (!settings.hash_key[0] && !settings.hash_key[1]) {
        error = new_key(&settings);
    }
    return error ? error : datapath_put_settings(dp, &settings);
}

/* Explains why the kernel did not load the programs. */
static int
explain_load_error(int error, char **ret_error)
{
    switch (-error) {
    case EPERM:
    case EACCES:
        return datapath_error(
            ret_error, error,
            "the kernel refuses the eBPF programs (%s); sald needs CAP_BPF, "
            "CAP_NET_ADMIN and CAP_PERFMON", strerror(-error));
    case ENOSYS:
        return datapath_error(ret_error, error,
                              "this kernel has no bpf(2); it needs "
                              "CONFIG_BPF_SYSCALL and version 6.1 or later");
    default:
        return datapath_error(
            ret_error, error,
            "the kernel refuses the eBPF programs: %s; 6.1 or later is "
            "needed; \"-v datapath:dbg\" shows the verifier's reasons",
            strerror(-error));
    }
}

/* 'programs' false: the maps only. */
static int
load(const char *pin_path, uint32_t max_flows, bool programs,
     struct datapath **ret_dp, char **ret_error)
{
    struct bpf_program *program;
    int error;
    libbpf_set_print(libbpf_log);
    if (pin_path) {
        error = make_pin_directory(pin_path, ret_error);
        if (error) {
            return error;
        }
    }

    struct datapath *dp = xzalloc(sizeof *dp);
    dp->sockops_link = -1;
    dp->pin_path = nullable_xstrdup(pin_path);
    dp->skeleton = sal_bpf__open();
    if (!dp->skeleton) {
        error = errno ? -errno : -ENOMEM;
        datapath_close(dp);
        return explain_load_error(error, ret_error);
    }
    dp->skeleton->rodata->no_decap_flags = getenv("SALIENT_NO_DECAP") != NULL;
    if (max_flows) {
        bpf_map__set_max_entries(dp->skeleton->maps.sal_flows, max_flows);
        bpf_map__set_max_entries(dp->skeleton->maps.sal_tuples, max_flows);
        bpf_map__set_max_entries(dp->skeleton->maps.sal_limits, max_flows);
    }
    if (pin_path) {
        reuse_maps(dp);
    }
    bpf_object__for_each_program(program, dp->skeleton->obj) {
        bpf_program__set_autoload(program, programs);
    }
    error = sal_bpf__load(dp->skeleton);
    if (!error) {
        error = init_settings(dp);
    }
    if (error) {
        datapath_close(dp);
        return explain_load_error(error, ret_error);
    }
    *ret_dp = dp;
    return 0;
}

int
datapath_load(const char *pin_path, uint32_t max_flows,
              struct datapath **ret_dp, char **ret_error)
{
    return load(pin_path, max_flows, true, ret_dp, ret_error);
}

int
datapath_peek(const char *pin_path, struct datapath **ret_dp, char **ret_error)
{
    struct datapath *dp;
    struct sal_settings settings;
    int error = load(pin_path, 0, false, &dp, ret_error);
    if (error) {
        return error;
    }
    error = datapath_get_settings(dp, &settings);
    if (error) {
        datapath_close(dp);
        return datapath_error(ret_error, error, "cannot read the settings");
    }
    dp->sal_ifindex = settings.sal_ifindex;
    *ret_dp = dp;
    return 0;
}

static int
attach_device(struct datapath *dp, char **ret_error)
{
    struct device_info device;
    struct sal_settings settings;
    int error = device_create(dp->device, &device, ret_error);
    if (error) {
        return error;
    }
    dp->sal_ifindex = device.ifindex;
    error = datapath_get_settings(dp, &settings);
    if (error) {
        return datapath_error(ret_error, error, "cannot read the settings");
    }
    settings.sal_ifindex = device.ifindex;
    memcpy(settings.sal_mac, device.mac, sizeof settings.sal_mac);

    char *why = NULL;
    error = sockops_attach(
        dp, bpf_program__fd(dp->skeleton->progs.sal_sockops), &why);
    if (error || !settings.netns_cookie) {
        VLOG_WARN("closes of TCP sockets are inferred from FIN and RST: %s",
                  why ? why : "the kernel has no network-namespace cookies");
        settings.flags &= ~SAL_SETTINGS_SOCKOPS;
    } else {
        settings.flags |= SAL_SETTINGS_SOCKOPS;
    }
    free(why);
    error = datapath_put_settings(dp, &settings);
    if (error) {
        return datapath_error(ret_error, error, "cannot write the settings");
    }

    struct hook hook = {.what = "egress", .ifindex = dp->sal_ifindex};
    return hook_attach(dp, &hook,
                       bpf_program__fd(dp->skeleton->progs.sal_egress),
                       &dp->egress_tcx, ret_error);
}

int
datapath_open(const struct datapath_config *config, struct datapath **ret_dp,
              char **ret_error)
{
    struct datapath *dp;
    *ret_error = NULL;
    int error = datapath_load(config->pin_path, config->max_flows, &dp,
                              ret_error);
    if (error) {
        return error;
    }
    dp->device = xstrdup(config->device);
    dp->ingress = config->ingress;
    hook_sweep(dp);
    error = attach_device(dp, ret_error);
    if (error) {
        datapath_close(dp);
        return error;
    }
    *ret_dp = dp;
    return 0;
}

void
datapath_close(struct datapath *dp)
{
    if (dp) {
        if (dp->sockops_link >= 0) {
            close(dp->sockops_link);
        }
        ring_buffer__free(dp->events);
        ring_buffer__free(dp->held);
        sal_bpf__destroy(dp->skeleton);
        free(dp->pin_path);
        free(dp->device);
        free(dp);
    }
}

void
datapath_remove(struct datapath *dp)
{
    if (!dp) {
        return;
    }
    uplinks_detach_all(dp);
    struct hook hook = {.what = "egress", .ifindex = dp->sal_ifindex};
    hook_detach(dp, &hook);
    sockops_detach(dp);
    if (dp->sal_ifindex) {
        device_delete(dp->sal_ifindex);
    }
    if (dp->pin_path) {
        unpin_all(dp->pin_path);
    }
    datapath_close(dp);
}

int
datapath_sal_ifindex(const struct datapath *dp)
{
    return dp->sal_ifindex;
}
