/*
 * api.h: the HTTP API that NGINX proxies to (libmicrohttpd, own threads).
 *
 * Identity comes from NGINX in headers the socket's peer alone can set: X-Tally-Tenant,
 * X-Tally-Client, X-Tally-Scope, X-Correlation-ID. A request without X-Tally-Tenant sees no
 * tenant's data. Each request takes one worker context (Lua state, journal reader, Redis link) from
 * a pool.
 *
 *   POST /v1/time-entries/validate   one object or an array of up to TG_VALIDATE_ARRAY_MAX
 *   GET  /v1/events/{id}             journal, else the stream
 *   GET  /v1/ops/destinations        ops:read
 *   POST /v1/ops/destinations/{name}/pause, /resume   ops:write
 *   POST /v1/ops/exceptions/{id}/assign, /replay, /resolve, /discard, /edit   ops:write
 *   GET  /v1/ops/summary, /exceptions, /postings, /audit, /reconciliation   ops:read
 *   POST /v1/ops/replays             ops:write; GET /v1/ops/replays/{id}   ops:read
 *   GET  /healthz /readyz /metrics   /readyz: journal open, Redis link up, rules loaded
 *
 * Ownership: tg_api owns its threads and contexts; config, schemas, catalogue and journal path
 * outlive it; bundle and masters are read through tg_api_shared under its lock, so that a reload
 * can swap them.
 */
#ifndef TG_API_API_H
#define TG_API_API_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/control.h"
#include "core/config.h"
#include "rules/pipeline.h"

struct tg_api;

struct tg_api_shared {
    pthread_mutex_t lock;
    struct tg_bundle *bundle;    /* under lock; generation tells contexts to rebuild */
    struct tg_master **masters;  /* under lock; one a tenant */
    uint64_t generation;         /* under lock: of both */
    uint64_t masters_generation; /* under lock: of the masters, which change far more often */
    atomic_bool redis_ready, journal_ready, stopping;
};

struct tg_api_options {
    const struct tg_config *config;
    const struct tg_schemas *schemas;
    const struct tg_catalogue *catalogue;
    struct tg_api_shared *shared;
    struct tg_controls *controls; /* what people ask the loop to do */
};

struct tg_api *tg_api_start(const struct tg_api_options *o, struct tg_error *err);
/* Answers what is in progress, then ends the threads. */
void tg_api_stop(struct tg_api *a);

#endif
