/* SPDX-License-Identifier: Apache-2.0 */
/* How a session opens: Hello, Challenge, Proof, Welcome. */
#include "controller/agent_session_private.h"

#include <errno.h>
#include <string.h>
#include "util.h"

#define API_VERSION 1

/* Names end up in logs and dumps, where neither control characters nor broken
 * UTF-8 (protobuf-c does not check strings) would do. */
static bool
is_printable(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char) *s < ' ' || (unsigned char) *s >= 0x7f) {
            return false;
        }
    }
    return true;
}

void
agent_session_hello(const struct agent_request *r,
                    const Salient__V1__Hello *hello)
{
    struct agent_session *s = r->session;

    if (hello->api_version != API_VERSION) {
        request_fail(r, ERROR(UNSUPPORTED), "hello.api_version",
                     "this controller speaks version 1 of the API");
    } else if (!hello->name[0] || strlen(hello->name) > REGISTRY_NAME_MAX) {
        request_fail(r, ERROR(INVALID), "hello.name",
                     "an endpoint's name has 1 to 63 octets");
    } else if (strlen(hello->zone) > REGISTRY_NAME_MAX) {
        request_fail(r, ERROR(INVALID), "hello.zone",
                     "a zone has at most 63 octets");
    } else if (!is_printable(hello->name) || !is_printable(hello->software)
               || !is_printable(hello->zone)) {
        request_fail(r, ERROR(INVALID),
                     !is_printable(hello->name) ? "hello.name"
                     : !is_printable(hello->zone) ? "hello.zone"
                                                  : "hello.software",
                     "only printable ASCII characters are allowed here");
    } else if (hello->public_key.len != SAL_PUBLIC_KEY_LEN) {
        request_fail(r, ERROR(INVALID), "hello.public_key",
                     "an X25519 public key has 32 octets");
    } else if (identity_session_key(&s->identity, hello->public_key.data,
                                    s->nonce, false, s->key)) {
        request_fail(r, ERROR(INVALID), "hello.public_key",
                     "this public key is of low order; make another");
        /* Each try costs us a multiplication. */
        agent_session_close(s, "its public key is of low order");
    } else {
        Salient__V1__Challenge challenge = SALIENT__V1__CHALLENGE__INIT;

        identity_endpoint_id(hello->public_key.data, s->id.bytes);
        ovs_strlcpy(s->name, hello->name, sizeof s->name);
        ovs_strlcpy(s->software, hello->software, sizeof s->software);
        ovs_strlcpy(s->zone, hello->zone, sizeof s->zone);
        s->wanted_v4 = hello->identity_v4;
        s->state = AGENT_SESSION_PROOF;
        challenge.public_key.data = s->identity.public_key;
        challenge.public_key.len = sizeof s->identity.public_key;
        challenge.nonce.data = s->nonce;
        challenge.nonce.len = sizeof s->nonce;
        REPLY(s, r->id, CHALLENGE, &challenge);
    }
}

/* Empty if there is none. */
static void
put_v6(ProtobufCBinaryData *wire, const struct in6_addr *address)
{
    if (!IN6_IS_ADDR_UNSPECIFIED(address)) {
        wire->data = CONST_CAST(uint8_t *, address->s6_addr);
        wire->len = sizeof *address;
    }
}

static void
send_welcome(const struct agent_request *r, uint32_t identity_v4)
{
    struct agent_session *s = r->session;
    const struct agent_session_config *config = s->config;
    Salient__V1__Welcome welcome = SALIENT__V1__WELCOME__INIT;
    Salient__V1__Ipv4Prefix identities = SALIENT__V1__IPV4_PREFIX__INIT;
    Salient__V1__Ipv4Prefix services = SALIENT__V1__IPV4_PREFIX__INIT;

    identities.address = config->identity_network;
    identities.length = config->identity_len;
    services.address = config->service_network;
    services.length = config->service_len;
    welcome.endpoint_id.data = s->id.bytes;
    welcome.endpoint_id.len = sizeof s->id.bytes;
    welcome.identity_v4 = identity_v4;
    welcome.identity_pool_v4 = &identities;
    welcome.service_pool_v4 = &services;
    welcome.resolver_v4 = config->resolver_v4;
    put_v6(&welcome.resolver_v6, &config->resolver_v6);
    put_v6(&welcome.identity_prefix_v6, &config->identity_prefix_v6);
    put_v6(&welcome.service_prefix_v6, &config->service_prefix_v6);
    welcome.sal_port = config->sal_port;
    welcome.keepalive_interval_ms = config->keepalive_interval_ms;
    welcome.lease_ms = config->lease_ms;
    welcome.probe_interval_ms = config->probe_interval_ms;
    REPLY(s, r->id, WELCOME, &welcome);
}

void
agent_session_proof(const struct agent_request *r,
                    const Salient__V1__Proof *proof)
{
    struct agent_session *s = r->session;
    long long lease = r->now_us / 1000 + s->config->lease_ms;

    if (proof->mac.len != IDENTITY_PROOF_LEN
        || !identity_proof_verify(s->key, proof->mac.data)) {
        request_fail(r, ERROR(NOT_AUTHENTICATED), "proof.mac",
                     "the proof is wrong: this is not the holder of the key");
        agent_session_close(s, "wrong proof");
        return;
    }
    int error = registry_session_begin(s->registry, &s->id, s->name,
                                       s->wanted_v4, lease, &s->session);
    if (error == -EADDRINUSE) {
        request_fail(r, ERROR(CONFLICT), "hello.public_key",
                     "another endpoint has the IPv6 identity address of this "
                     "key; make another key");
        agent_session_close(s, "its IPv6 identity address is taken");
        return;
    }
    if (error) {
        request_fail(r,
                     error == -ENOSPC ? ERROR(EXHAUSTED) : ERROR(INTERNAL), "",
                     error == -ENOSPC ? "no identity address is free; enlarge "
                                        "identity_pool in the controller's "
                                        "configuration"
                                      : "the session cannot begin");
        agent_session_close(s, "no identity address is free");
        return;
    }
    registry_set_zone(s->registry, &s->id, s->zone);
    s->state = AGENT_SESSION_UP;
    s->deadline = lease;
    send_welcome(r, registry_endpoint(s->registry, &s->id)->identity_v4);
    s->ops->up(s, s->aux);
}
