/* SPDX-License-Identifier: Apache-2.0 */
/* The one file that says what an OpenFlow error means to the rest of us. */
#include <errno.h>
#include <stdio.h>
#include "controller/openflow_codec.h"

int
openflow_errno(enum ofperr error)
{
    switch ((int) error) {
    case OFPERR_OFPFMFC_TABLE_FULL:
    case OFPERR_OFPGMFC_OUT_OF_GROUPS:
    case OFPERR_OFPGMFC_OUT_OF_BUCKETS:
    case OFPERR_OFPMMFC_OUT_OF_METERS:
    case OFPERR_OFPMMFC_OUT_OF_BANDS:
    case OFPERR_OFPBFC_OUT_OF_BUNDLES:
        return -ENOSPC;
    case OFPERR_OFPGMFC_GROUP_EXISTS:
    case OFPERR_OFPMMFC_METER_EXISTS:
    case OFPERR_OFPBFC_BUNDLE_EXIST:
        return -EEXIST;
    case OFPERR_OFPGMFC_UNKNOWN_GROUP:
    case OFPERR_OFPMMFC_UNKNOWN_METER:
    case OFPERR_OFPBFC_BAD_ID:
        return -ENOENT;
    case OFPERR_OFPBMC_BAD_FIELD:
    case OFPERR_OFPBRC_BAD_TYPE:
    case OFPERR_OFPBRC_BAD_STAT:
    case OFPERR_OFPBRC_BAD_VENDOR:
    case OFPERR_OFPBRC_BAD_SUBTYPE:
    case OFPERR_OFPBAC_BAD_TYPE:
    case OFPERR_OFPBIC_UNSUP_INST:
    case OFPERR_OFPGMFC_WEIGHT_UNSUPPORTED:
    case OFPERR_OFPGMFC_CHAINING_UNSUPPORTED:
    case OFPERR_OFPGMFC_WATCH_UNSUPPORTED:
    case OFPERR_OFPBFC_MSG_UNSUP:
        return -EOPNOTSUPP;
    case OFPERR_OFPBRC_EPERM:
    case OFPERR_OFPBRC_IS_SECONDARY:
    case OFPERR_OFPFMFC_EPERM:
    case OFPERR_OFPGMFC_EPERM:
    case OFPERR_OFPRRFC_STALE:
        return -EPERM;
    case OFPERR_OFPFMFC_BAD_TABLE_ID:
    case OFPERR_OFPFMFC_BAD_FLAGS:
    case OFPERR_OFPBMC_BAD_VALUE:
    case OFPERR_OFPBMC_BAD_MASK:
    case OFPERR_OFPBMC_BAD_PREREQ:
    case OFPERR_OFPBAC_BAD_OUT_PORT:
    case OFPERR_OFPBAC_BAD_ARGUMENT:
    case OFPERR_OFPBAC_BAD_OUT_GROUP:
    case OFPERR_OFPGMFC_INVALID_GROUP:
        return -EINVAL;
    default:
        return -EPROTO;
    }
}

const char *
openflow_error_string(enum ofperr error, char *buf, size_t size)
{
    if (!error) {
        snprintf(buf, size, "an error that the controller does not know");
    } else if (!ofperr_is_valid(error)) {
        snprintf(buf, size, "error %d", (int) error);
    } else {
        /* The library's descriptions are those of the specification, with
         * its line breaks; the name alone is what people search for. */
        snprintf(buf, size, "%s", ofperr_get_name(error));
    }
    return buf;
}
