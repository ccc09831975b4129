/* SPDX-License-Identifier: Apache-2.0 */
/* docs/registration-api.md is true: it has every message, every field and
 * every error of salient.proto, and its bytes are what the code makes.  Run
 * from the top folder. */
#include "tests/unit/unit.h"

#include <protobuf-c/protobuf-c.h>
#include "openvswitch/dynamic-string.h"
#include "proto/channel.h"
#include "proto/frame.h"
#include "proto/identity.h"
#include "salient.pb-c.h"
#include "util.h"

#define DOCUMENT "docs/registration-api.md"

static char *text;

static void
test_read(void)
{
    static char buffer[256 * 1024];
    FILE *file = fopen(DOCUMENT, "r");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t n = fread(buffer, 1, sizeof buffer - 1, file);
    fclose(file);
    CU_ASSERT_FATAL(n > 0 && n < sizeof buffer - 1);
    text = buffer;
}

static void
check_has(const char *needle)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    if (!strstr(text, needle)) {
        fprintf(stderr, DOCUMENT" lacks: %s\n", needle);
        CU_FAIL("the document lacks something");
    } else {
        CU_PASS("found");
    }
}

/* A heading for the message, within its section each field in backquotes. */
static void
check_message(const ProtobufCMessageDescriptor *message)
{
    char *heading = xasprintf("\n### %s\n", message->short_name);
    char *section = strstr(text, heading);

    check_has(heading);
    if (section) {
        char *end = strstr(section + 1, "\n##");
        char *body = xmemdup0(section, end ? end - section : strlen(section));
        for (unsigned int i = 0; i < message->n_fields; i++) {
            char *field = xasprintf("`%s`", message->fields[i].name);
            if (!strstr(body, field)) {
                fprintf(stderr, DOCUMENT" lacks %s of %s\n", field,
                        message->short_name);
                CU_FAIL("the document lacks a field");
            }
            free(field);
        }
        free(body);
    }
    free(heading);
}

static void
test_messages(void)
{
    const ProtobufCMessageDescriptor *envelope =
        &salient__v1__envelope__descriptor;

    check_message(envelope);
    for (unsigned int i = 0; i < envelope->n_fields; i++) {
        if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            check_message(envelope->fields[i].descriptor);
        }
    }
    check_message(&salient__v1__prefix__descriptor);
    check_message(&salient__v1__ipv4_prefix__descriptor);
    check_message(&salient__v1__service__descriptor);
}

static void
test_errors(void)
{
    const ProtobufCEnumDescriptor *codes =
        &salient__v1__error_code__descriptor;

    for (unsigned int i = 0; i < codes->n_values; i++) {
        char *row = xasprintf("| %d | `%s` |", codes->values[i].value,
                              codes->values[i].name);
        check_has(row);
        free(row);
    }
}

/* "53 4c 01". */
static char *
hex(const uint8_t *bytes, size_t n, const char *separator)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    for (size_t i = 0; i < n; i++) {
        ds_put_format(&ds, "%s%02x", i ? separator : "", bytes[i]);
    }
    return ds_steal_cstr(&ds);
}

static void
check_bytes(const uint8_t *bytes, size_t n, const char *separator)
{
    char *s = hex(bytes, n, separator);
    check_has(s);
    free(s);
}

static void
test_frame_example(void)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Keepalive keepalive = SALIENT__V1__KEEPALIVE__INIT;
    uint8_t frame[64];

    envelope.request_id = 7;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_KEEPALIVE;
    envelope.keepalive = &keepalive;
    size_t n = salient__v1__envelope__pack(&envelope,
                                           frame + FRAME_HEADER_LEN);
    frame_header_put(frame, n);
    check_bytes(frame, FRAME_HEADER_LEN + n, " ");
}

static void
read_key(const char *digits, uint8_t secret[IDENTITY_SECRET_LEN])
{
    for (int i = 0; i < IDENTITY_SECRET_LEN; i++) {
        unsigned int byte;
        CU_ASSERT_EQUAL(sscanf(digits + 2 * i, "%2x", &byte), 1);
        secret[i] = byte;
    }
}

/* The key pair of a secret, by way of a key file. */
static struct identity
identity_of(const char *digits)
{
    char path[] = "/tmp/salient-key-XXXXXX";
    uint8_t secret[IDENTITY_SECRET_LEN];
    struct identity identity;
    int fd = mkstemp(path);

    CU_ASSERT_FATAL(fd >= 0);
    FILE *file = fdopen(fd, "w");
    read_key(digits, secret);
    fwrite(secret, 1, sizeof secret, file);
    fclose(file);
    CU_ASSERT_EQUAL(identity_load(path, &identity), 0);
    remove(path);
    return identity;
}

/* The key pairs are those of RFC 7748, section 6.1. */
static void
test_proof_example(void)
{
    static const char agent_secret[] = "77076d0a7318a57d3c16c17251b26645"
                                       "df4c2f87ebc0992ab177fba51db92c2a";
    static const char controller_secret[] = "5dab087e624a8a4b79e17f8b83800ee6"
                                            "6f3bb1292618b6fd1c2f8b27ff88e0eb";
    struct identity agent = identity_of(agent_secret);
    struct identity controller = identity_of(controller_secret);
    uint8_t nonce[IDENTITY_NONCE_LEN], key[IDENTITY_SESSION_KEY_LEN];
    uint8_t proof[IDENTITY_PROOF_LEN], mac[IDENTITY_MAC_LEN];

    for (int i = 0; i < sizeof nonce; i++) {
        nonce[i] = i;
    }
    CU_ASSERT_EQUAL(identity_session_key(&agent, controller.public_key, nonce,
                                         true, key), 0);
    identity_proof(key, proof);
    identity_mac(key, "abc", 3, mac);

    check_has(agent_secret);
    check_has(controller_secret);
    check_bytes(agent.public_key, sizeof agent.public_key, "");
    check_bytes(agent.endpoint_id, sizeof agent.endpoint_id, "");
    check_bytes(controller.public_key, sizeof controller.public_key, "");
    check_bytes(nonce, sizeof nonce, "");
    check_bytes(key, sizeof key, "");
    check_bytes(proof, sizeof proof, "");
    check_bytes(mac, sizeof mac, "");
}

static void
test_limits(void)
{
    char *patience = xasprintf("%d seconds", CHANNEL_PATIENCE_MS / 1000);
    char *body = xasprintf("1 to %d octets", FRAME_BODY_MAX);
    char *queue = xasprintf("%d MiB", CHANNEL_QUEUE_MAX / 1024 / 1024);

    check_has(patience);
    check_has(body);
    check_has(queue);
    free(patience);
    free(body);
    free(queue);
}

UNIT_MAIN("api_docs", UNIT_TEST(test_read), UNIT_TEST(test_messages),
          UNIT_TEST(test_errors), UNIT_TEST(test_frame_example),
          UNIT_TEST(test_proof_example), UNIT_TEST(test_limits))
