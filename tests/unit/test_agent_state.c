/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agents/agent_state.h"
#include "openvswitch/json.h"

static char path[] = "/tmp/test_agent_state.XXXXXX";

static void
fill(struct agent_state *state)
{
    static const char *const names[] = {"web.shop.acme", "db.shop.acme",
                                        "a.b.c.d.e"};
    state->have_welcome = true;
    state->welcome = (struct session_welcome) {
        .identity_v4 = 0x64400001,
        .identity_pool_v4 = 0x64400000,
        .identity_pool_len = 10,
        .service_pool_v4 = 0xc6120000,
        .service_pool_len = 15,
        .resolver_v4 = 0x0afffffe,
        .resolver_v6 = {{{0x20, 0x01, 0x0d, 0xb8, [15] = 1}}},
        .identity_prefix_v6 = {{{0xfd, 1}}},
        .sal_port = 6090,
        .keepalive_interval_ms = 1000,
        .lease_ms = 6000,
        .probe_interval_ms = 2000,
    };
    state->names_complete = true;
    for (size_t i = 0; i < 3; i++) {
        struct local_service service = {.name = (char *) names[i],
                                        .protocol = 6,
                                        .service_port = 80,
                                        .target_port = 8080,
                                        .target_address = 0x7f000001,
                                        .weight = i};
        service_prefix_from_name(names[i], &service.prefix);
        names_put(&state->names, names[i], &service.prefix, 0xc6120001 + i);
        local_services_put(&state->commands, &service);
    }
}

static char *
text_of(const struct agent_state *state)
{
    struct json *json = agent_state_to_json(state);
    char *text = json_to_string(json, JSSF_SORT);
    json_destroy(json);
    return text;
}

static void
test_round_trip(void)
{
    struct agent_state a, b;
    struct stat st;
    agent_state_init(&a);
    agent_state_init(&b);
    fill(&a);
    CU_ASSERT_EQUAL(agent_state_save(path, &a), 0);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
    CU_ASSERT_EQUAL(agent_state_load(path, &b), 0);

    char *before = text_of(&a), *after = text_of(&b);
    CU_ASSERT_STRING_EQUAL(before, after);
    CU_ASSERT_EQUAL(memcmp(&b.welcome, &a.welcome, sizeof a.welcome), 0);
    CU_ASSERT_EQUAL(b.commands.n, 3);
    CU_ASSERT_EQUAL(names_count(&b.names), 3);
    free(before);
    free(after);
    agent_state_destroy(&a);
    agent_state_destroy(&b);
}

static void
test_missing(void)
{
    struct agent_state state;
    agent_state_init(&state);
    unlink(path);
    CU_ASSERT_EQUAL(agent_state_load(path, &state), 0);
    CU_ASSERT_FALSE(state.have_welcome);
    CU_ASSERT_EQUAL(agent_state_save("/nonexistent/x", &state), -ENOENT);
    agent_state_destroy(&state);
}

/* A damaged file is refused whole, wherever the damage is. */
static void
test_damaged(void)
{
    struct agent_state good, state;
    agent_state_init(&good);
    fill(&good);
    char *text = text_of(&good);
    size_t len = strlen(text);

    for (size_t i = 0; i < 3000; i++) {
        char *copy = strdup(text);
        if (i < len) {
            copy[i] = '\0';
        } else {
            copy[unit_random_below(len)] = "0\"{}[]:,x"[unit_random_below(9)];
        }
        agent_state_init(&state);
        struct json *json = json_from_string(copy);
        int error = agent_state_from_json(json, &state);
        CU_ASSERT_TRUE(!error || error == -EINVAL);
        if (i < len) {
            CU_ASSERT_EQUAL(error, -EINVAL);
        }
        if (error) {
            CU_ASSERT_FALSE(state.have_welcome);
            CU_ASSERT_EQUAL(names_count(&state.names), 0);
            CU_ASSERT_EQUAL(state.commands.n, 0);
        }
        json_destroy(json);
        agent_state_destroy(&state);
        free(copy);
    }
    free(text);
    agent_state_destroy(&good);
}

static void
test_setup(void)
{
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
}

UNIT_MAIN("agent_state", UNIT_TEST(test_setup), UNIT_TEST(test_round_trip),
          UNIT_TEST(test_missing), UNIT_TEST(test_damaged))
