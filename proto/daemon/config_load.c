/* SPDX-License-Identifier: Apache-2.0 */
/* The part of config_file.h that does I/O. */
#include "proto/daemon/config_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "util.h"

#define MAX_FILE (4 * 1024 * 1024)

/* Reads all of 'path' into '*ret_text', which the caller frees. */
static int
read_file(const char *path, char **ret_text, size_t *ret_len)
{
    FILE *stream = fopen(path, "re");
    if (!stream) {
        return -errno;
    }

    char *text = xmalloc(MAX_FILE + 1);
    errno = 0;
    size_t len = fread(text, 1, MAX_FILE + 1, stream);
    int error = ferror(stream) ? (errno ? -errno : -EIO)
                               : len > MAX_FILE ? -EFBIG : 0;
    fclose(stream);
    if (error) {
        free(text);
        return error;
    }
    *ret_text = text;
    *ret_len = len;
    return 0;
}

int
config_file_load(const char *path, struct config_file **ret_file,
                 char **ret_error)
{
    char *text = NULL;
    size_t len = 0;

    int error = read_file(path, &text, &len);
    if (error) {
        *ret_error = xasprintf("cannot read %s: %s", path,
                               ovs_strerror(-error));
        return error;
    }
    error = config_file_parse(path, text, len, ret_file, ret_error);
    free(text);
    return error;
}
