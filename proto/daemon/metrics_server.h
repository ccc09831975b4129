/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny HTTP server for one page, GET /metrics.  Requests, connections and
 * their time are bounded.  One thread: the loop's. */
#ifndef SALIENT_METRICS_SERVER_H
#define SALIENT_METRICS_SERVER_H 1

#include <stdint.h>
#include <uv.h>
#include "openvswitch/dynamic-string.h"

struct metrics_server;

/* Appends the page in Prometheus' text format. */
typedef void metrics_cb(struct ds *, void *aux);

/* Address and port in host byte order; port 0: any free one.  Negative errno
 * with '*ret_error' (malloced). */
int metrics_server_start(uv_loop_t *, uint32_t address, uint16_t port,
                         metrics_cb *, void *aux,
                         struct metrics_server **ret_server,
                         char **ret_error);
/* The memory goes when all handles have closed. */
void metrics_server_stop(struct metrics_server *);
uint16_t metrics_server_port(const struct metrics_server *);

#endif /* metrics_server.h */
