/* SPDX-License-Identifier: Apache-2.0 */
/* Device features, by the ethtool ioctl. */
#include "agents/datapath_private.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "util.h"

static int
ethtool(int fd, const char *device, void *command)
{
    struct ifreq request = {.ifr_data = command};
    ovs_strlcpy(request.ifr_name, device, sizeof request.ifr_name);
    return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

/* The kernel's number of 'feature' and of features altogether. */
static int
find_feature(int fd, const char *device, const char *feature,
             uint32_t *ret_index, uint32_t *ret_n)
{
    struct {
        struct ethtool_sset_info info;
        uint32_t n;
    } set = {.info = {.cmd = ETHTOOL_GSSET_INFO,
                      .sset_mask = 1ULL << ETH_SS_FEATURES}};
    int error = ethtool(fd, device, &set);
    if (error || !set.n || set.n > 4096) {
        return error ? error : -ENOENT;
    }
    struct ethtool_gstrings *names =
        xzalloc(sizeof *names + set.n * ETH_GSTRING_LEN);
    *names = (struct ethtool_gstrings) {.cmd = ETHTOOL_GSTRINGS,
                                        .string_set = ETH_SS_FEATURES,
                                        .len = set.n};
    error = ethtool(fd, device, names);
    uint32_t i = 0;
    while (!error && i < set.n
           && strncmp((char *) names->data + i * ETH_GSTRING_LEN, feature,
                      ETH_GSTRING_LEN)) {
        i++;
    }
    free(names);
    *ret_index = i;
    *ret_n = set.n;
    return error ? error : i < set.n ? 0 : -ENOENT;
}

int
device_feature_off(const char *device, const char *feature)
{
    uint32_t index, n;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int error = find_feature(fd, device, feature, &index, &n);
    if (!error) {
        size_t n_blocks = (n + 31) / 32;
        struct ethtool_sfeatures *set =
            xzalloc(sizeof *set + n_blocks * sizeof set->features[0]);
        set->cmd = ETHTOOL_SFEATURES;
        set->size = n_blocks;
        set->features[index / 32].valid = 1u << index % 32;
        error = ethtool(fd, device, set);
        free(set);
    }
    close(fd);
    return error;
}
