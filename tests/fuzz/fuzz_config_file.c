/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration file: it is read, or refused with a sentence
 * that names the file; every value is within its range. */
#include "tests/fuzz/fuzz.h"

#include "proto/daemon/config_file.h"

static void
read_service(struct config_node *service)
{
    FUZZ_CHECK(config_string_required(service, "name"));
    int64_t port = config_int(service, "port", 1, 65535, 80);
    FUZZ_CHECK(port >= 1 && port <= 65535);
    struct config_node *tags = config_sequence(service, "tags");
    for (size_t i = 0; i < config_sequence_length(tags); i++) {
        FUZZ_CHECK(config_sequence_string(tags, i));
    }
}

static void
read_all(struct config_node *root)
{
    uint32_t address = 0;
    uint8_t length = 0;

    FUZZ_CHECK(config_string(root, "controller", "x"));
    config_bool(root, "debug", false);
    config_ipv4(root, "resolver", 0);
    config_ipv4_prefix(root, "pool", &address, &length);
    FUZZ_CHECK(length <= 32);
    FUZZ_CHECK(length == 32 || !(address & (UINT32_MAX >> length)));
    int64_t ms = config_duration_ms(root, "keepalive", 10, 60000, 1000);
    FUZZ_CHECK(ms >= 10 && ms <= 60000);
    read_service(config_mapping(root, "sub"));
    struct config_node *services = config_sequence(root, "services");
    for (size_t i = 0; i < config_sequence_length(services); i++) {
        read_service(config_sequence_mapping(services, i));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_file *file;
    char *error;

    if (config_file_parse("f.yaml", (const char *) data, size, &file,
                          &error)) {
        FUZZ_CHECK(!strncmp(error, "f.yaml:", 7));
        free(error);
        return 0;
    }
    read_all(config_file_root(file));
    const char *finish = config_file_finish(file);
    FUZZ_CHECK(!finish || !strncmp(finish, "f.yaml:", 7));
    config_file_destroy(file);
    return 0;
}
