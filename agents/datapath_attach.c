/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks.  tcx (Linux 6.6) is a link: pinned, it outlives the daemon, and its
 * program is replaced without a gap.  Before that there is clsact, whose
 * filters live as long as the device. */
#include "agents/datapath_private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(datapath_attach);

/* libbpf 1.1 does not know them. */
enum { TCX_INGRESS = 46, TCX_EGRESS = 47 };

/* Our filter among others on clsact: "SA". */
#define CLSACT_PRIORITY 0x5341
#define CLSACT_HANDLE 1

static char *
link_path(const struct datapath *dp, const struct hook *hook)
{
    return xasprintf("%s/link_%s_%d", dp->pin_path, hook->what, hook->ifindex);
}

/* Puts 'prog_fd' in place of the program of the link pinned at 'path'. */
static int
link_take_over(const char *path, int prog_fd)
{
    int fd = bpf_obj_get(path);
    if (fd < 0) {
        return fd;
    }
    int error = bpf_link_update(fd, prog_fd, NULL);
    close(fd);
    if (error) {
        unlink(path); /* Its device or cgroup is gone. */
    }
    return error;
}

/* Pins link 'fd' and closes it; unpinned, it stays open with the process. */
static int
link_keep(const struct datapath *dp, const char *path, int fd)
{
    if (!dp->pin_path) {
        return 0;
    }
    int error = bpf_obj_pin(fd, path);
    close(fd);
    return error;
}

/* Detaches the link pinned at 'path', if there is one. */
static void
link_drop(const char *path)
{
    int fd = bpf_obj_get(path);

    if (fd >= 0) {
        bpf_link_detach(fd);
        close(fd);
        unlink(path);
    }
}

static int
tcx_attach(const struct datapath *dp, const struct hook *hook, int prog_fd)
{
    char *path = dp->pin_path ? link_path(dp, hook) : NULL;
    int error = path ? link_take_over(path, prog_fd) : -ENOENT;
    if (error) {
        int tcx = hook->ingress ? TCX_INGRESS : TCX_EGRESS;
        enum bpf_attach_type type = tcx;
        int fd = bpf_link_create(prog_fd, hook->ifindex, type, NULL);
        error = fd < 0 ? fd : link_keep(dp, path, fd);
    }
    free(path);
    return error;
}

static int
clsact_attach(const struct hook *hook, int prog_fd)
{
    LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = hook->ifindex,
                .attach_point = hook->ingress ? BPF_TC_INGRESS
                                              : BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE,
                .priority = CLSACT_PRIORITY, .prog_fd = prog_fd,
                .flags = BPF_TC_F_REPLACE);
    int error = bpf_tc_hook_create(&tc);
    if (error && error != -EEXIST) {
        return error;
    }
    return bpf_tc_attach(&tc, &opts);
}

int
hook_attach(const struct datapath *dp, const struct hook *hook, int prog_fd,
            bool *ret_tcx, char **ret_error)
{
    const char *no_tcx = getenv("SALIENT_NO_TCX"); /* For tests. */
    int error = no_tcx ? -EINVAL : tcx_attach(dp, hook, prog_fd);
    if (!error) {
        *ret_tcx = true;
        return 0;
    }
    int tcx_error = error;
    error = clsact_attach(hook, prog_fd);
    if (!error) {
        VLOG_INFO("no tcx (%s), using clsact", strerror(-tcx_error));
        *ret_tcx = false;
        return 0;
    }
    return datapath_error(
        ret_error, error,
        "cannot attach the %s program to interface %d: tcx: %s; clsact: %s; "
        "the kernel needs CONFIG_NET_XGRESS or CONFIG_NET_CLS_BPF with "
        "CONFIG_NET_SCH_INGRESS", hook->what, hook->ifindex,
        strerror(-tcx_error), strerror(-error));
}

void
hook_detach(const struct datapath *dp, const struct hook *hook)
{
    if (dp->pin_path) {
        char *path = link_path(dp, hook);
        link_drop(path);
        free(path);
    }
    LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = hook->ifindex,
                .attach_point = hook->ingress ? BPF_TC_INGRESS
                                              : BPF_TC_EGRESS);
    LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE,
                .priority = CLSACT_PRIORITY);
    if (!bpf_tc_query(&tc, &opts)) {
        opts.prog_fd = opts.prog_id = opts.flags = 0;
        bpf_tc_detach(&tc, &opts);
    }
}

int
xdp_attach(const struct datapath *dp, int ifindex, int prog_fd)
{
    char *path = dp->pin_path
                 ? xasprintf("%s/link_xdp_%d", dp->pin_path, ifindex) : NULL;
    int error = path ? link_take_over(path, prog_fd) : -ENOENT;
    if (error) {
        LIBBPF_OPTS(bpf_link_create_opts, opts,
                    .flags = XDP_FLAGS_DRV_MODE);
        int fd = bpf_link_create(prog_fd, ifindex, BPF_XDP, &opts);
        error = fd < 0 ? fd : link_keep(dp, path, fd);
    }
    free(path);
    return error;
}

void
xdp_detach(const struct datapath *dp, int ifindex)
{
    if (dp->pin_path) {
        char *path = xasprintf("%s/link_xdp_%d", dp->pin_path, ifindex);
        link_drop(path);
        free(path);
    }
}

void
hook_sweep(const struct datapath *dp)
{
    DIR *dir = dp->pin_path ? opendir(dp->pin_path) : NULL;
    if (!dir) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        char name[IF_NAMESIZE];
        char what[16];
        unsigned int ifindex;
        if (sscanf(entry->d_name, "link_%15[a-z]_%u", what, &ifindex) == 2
            && !if_indextoname(ifindex, name)) {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    closedir(dir);
}

/* The root of the cgroup2 hierarchy, malloced, or NULL. */
static char *
cgroup_root(void)
{
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    char *root = NULL;
    for (struct mntent *m; mounts && !root && (m = getmntent(mounts));) {
        if (!strcmp(m->mnt_type, "cgroup2")) {
            root = xstrdup(m->mnt_dir);
        }
    }
    if (mounts) {
        endmntent(mounts);
    }
    return root;
}

int
sockops_attach(struct datapath *dp, int prog_fd, char **ret_error)
{
    if (getenv("SALIENT_NO_SOCKOPS")) { /* For tests. */
        return datapath_error(ret_error, -EOPNOTSUPP, "switched off");
    }
    char *path = dp->pin_path ? xasprintf("%s/link_sockops", dp->pin_path)
                              : NULL;
    if (path && !link_take_over(path, prog_fd)) {
        free(path);
        return 0;
    }
    char *root = cgroup_root();
    int error;
    if (!root) {
        error = datapath_error(ret_error, -ENOENT,
                               "no cgroup2 file system is mounted; mount one "
                               "with \"mount -t cgroup2 none "
                               "/sys/fs/cgroup\"");
    } else {
        int cgroup = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int fd = cgroup < 0 ? -errno
                            : bpf_link_create(prog_fd, cgroup,
                                              BPF_CGROUP_SOCK_OPS, NULL);
        error = fd < 0 ? fd : 0;
        if (cgroup >= 0) {
            close(cgroup);
        }
        if (!error) {
            error = link_keep(dp, path, fd);
            if (!dp->pin_path) {
                dp->sockops_link = fd;
            }
        }
        if (error) {
            datapath_error(ret_error, error, "cannot attach to %s: %s", root,
                           strerror(-error));
        }
    }
    free(root);
    free(path);
    return error;
}

void
sockops_detach(struct datapath *dp)
{
    if (dp->pin_path) {
        char *path = xasprintf("%s/link_sockops", dp->pin_path);
        link_drop(path);
        free(path);
    }
}
