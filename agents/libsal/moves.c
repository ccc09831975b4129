/* SPDX-License-Identifier: Apache-2.0 */
/* libsal: moves of running flows, from the agent's events. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agents/libsal/agent_client.h"
#include "agents/libsal/libsal.h"

struct sal_moves {
    struct agent_stream *stream;
};

int
sal_moves_open(struct sal_moves **ret_moves)
{
    static const char *const argv[] = {"events", "--follow", NULL};
    struct sal_moves *moves = calloc(1, sizeof *moves);
    int error;

    if (!moves) {
        return -ENOMEM;
    }
    error = agent_stream_open(argv, SAL_TIMEOUT_MS, &moves->stream);
    if (error) {
        free(moves);
        return error;
    }
    *ret_moves = moves;
    return 0;
}

void
sal_moves_close(struct sal_moves *moves)
{
    if (moves) {
        agent_stream_close(moves->stream);
        free(moves);
    }
}

int
sal_moves_fd(const struct sal_moves *moves)
{
    return agent_stream_fd(moves->stream);
}

/* Where the value of a member of the flat JSON object 'line' begins, or
 * NULL. */
static const char *
find_member(const char *line, const char *key)
{
    char name[40];
    int n = snprintf(name, sizeof name, "\"%s\":", key);
    const char *p = strstr(line, name);
    return p ? p + n : NULL;
}

static void
copy_string(const char *line, const char *key, char *buf, size_t size)
{
    const char *value = find_member(line, key);
    size_t n = value && *value == '"' ? strcspn(value + 1, "\"") : 0;

    n = n < size ? n : size - 1;
    if (n) {
        memcpy(buf, value + 1, n);
    }
    buf[n] = '\0';
}

static int64_t
get_integer(const char *line, const char *key)
{
    const char *value = find_member(line, key);
    return value ? strtoll(value, NULL, 10) : 0;
}

static int
parse_move(const char *line, struct sal_move *move)
{
    char peer[2 * SAL_ENDPOINT_LEN + 1];

    memset(move, 0, sizeof *move);
    copy_string(line, "event", move->event, sizeof move->event);
    copy_string(line, "reason", move->reason, sizeof move->reason);
    copy_string(line, "own_to", move->own_locator, sizeof move->own_locator);
    copy_string(line, "peer_to", move->peer_locator,
                sizeof move->peer_locator);
    copy_string(line, "peer", peer, sizeof peer);
    for (int i = 0; i < SAL_ENDPOINT_LEN; i++) {
        if (sscanf(peer + 2 * i, "%2" SCNx8, &move->endpoint[i]) != 1) {
            return -EPROTO;
        }
    }
    move->flows = get_integer(line, "flows");
    move->duration_ms = get_integer(line, "duration_ms");
    return move->event[0] ? 0 : -EPROTO;
}

int
sal_moves_next(struct sal_moves *moves, unsigned int timeout_ms,
               struct sal_move *move)
{
    char *line;
    int n = agent_stream_next(moves->stream, timeout_ms, &line);

    if (n == 1) {
        int error = parse_move(line, move);
        free(line);
        n = error ? error : 1;
    }
    return n;
}
