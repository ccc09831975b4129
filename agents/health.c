/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/health.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "util.h"

static uint32_t
hash_key(const struct local_service *service)
{
    return hash_bytes(&service->prefix.id, sizeof service->prefix.id,
                      service->service_port << 8 | service->protocol);
}

static struct health_check *
find(const struct health *health, const struct local_service *key)
{
    struct health_check *check;

    HMAP_FOR_EACH_WITH_HASH (check, node, hash_key(key), &health->checks) {
        if (!local_service_compare(&check->service, key)) {
            return check;
        }
    }
    return NULL;
}

const struct health_check *
health_find(const struct health *health, const struct local_service *key)
{
    return find(health, key);
}

void
health_init(struct health *health)
{
    hmap_init(&health->checks);
}

static void
destroy_check(struct health_check *check)
{
    free(check->service.name);
    free(check);
}

void
health_destroy(struct health *health)
{
    struct health_check *check;

    HMAP_FOR_EACH_POP (check, node, &health->checks) {
        destroy_check(check);
    }
    hmap_destroy(&health->checks);
}

static void
set_service(struct health_check *check, const struct local_service *service)
{
    char *name = xstrdup(service->name ? service->name : "");

    free(check->service.name);
    check->service = *service;
    check->service.name = name;
}

static void
want(struct health *health, const struct local_service *service, int64_t now)
{
    struct health_check *check = find(health, service);

    if (!check) {
        check = xzalloc(sizeof *check);
        check->next_ms = now;
        hmap_insert(&health->checks, &check->node, hash_key(service));
    } else if (check->service.target_address != service->target_address
               || check->service.target_port != service->target_port
               || check->service.health != service->health) {
        /* What is known is of another server. */
        check->healthy = check->known = false;
        check->run = 0;
        check->next_ms = now;
    }
    set_service(check, service);
}

void
health_set(struct health *health, const struct local_services *services,
           int64_t now)
{
    struct health_check *check;

    HMAP_FOR_EACH_SAFE (check, node, &health->checks) {
        const struct local_service *service
            = local_services_find(services, &check->service);
        if (!service || service->health == HEALTH_NONE) {
            hmap_remove(&health->checks, &check->node);
            destroy_check(check);
        }
    }
    for (size_t i = 0; i < services->n; i++) {
        if (services->items[i].health != HEALTH_NONE) {
            want(health, &services->items[i], now);
        }
    }
}

bool
health_is_good(const struct health *health,
               const struct local_service *service)
{
    const struct health_check *check = find(health, service);

    return !check || check->healthy;
}

const struct health_check *
health_take_due(struct health *health, int64_t now)
{
    struct health_check *check;

    HMAP_FOR_EACH (check, node, &health->checks) {
        if (!check->running && now >= check->next_ms) {
            check->running = true;
            check->checks++;
            check->next_ms = now + check->service.health_interval_ms;
            return check;
        }
    }
    return NULL;
}

bool
health_result(struct health *health, const struct local_service *key,
              bool ok, int64_t now)
{
    struct health_check *check = find(health, key);

    if (!check || !check->running) {
        return false;
    }
    check->running = false;
    check->failures += !ok;
    bool first = !check->known;
    check->known = true;
    if (ok == check->healthy) {
        check->run = 0;
        return false;
    }
    if (++check->run < check->service.health_threshold && !(first && ok)) {
        return false;
    }
    check->run = 0;
    check->healthy = ok;
    return true;
}

int64_t
health_deadline(const struct health *health)
{
    const struct health_check *check;
    int64_t deadline = INT64_MAX;

    HMAP_FOR_EACH (check, node, &health->checks) {
        if (!check->running) {
            deadline = MIN(deadline, check->next_ms);
        }
    }
    return deadline;
}

bool
health_http_is_good(const char *answer, size_t len)
{
    /* "HTTP/1.1 200" */
    return len >= 12 && !memcmp(answer, "HTTP/1.", 7) && answer[8] == ' '
           && (answer[9] == '2' || answer[9] == '3')
           && isdigit((unsigned char) answer[10])
           && isdigit((unsigned char) answer[11]);
}
