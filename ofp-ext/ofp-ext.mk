# SPDX-License-Identifier: Apache-2.0
LIBSALIENT_SRCS += ofp-ext/service_id.c
PURE += ofp-ext/service_id.c
UNIT_TESTS += test_service_id
