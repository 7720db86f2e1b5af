
/*
 * ngx_http_tally_zone.h: what lies in the shared memory of tally_zone.
 *
 * The slab pool's data is one header: counters, and one pointer for each
 * other user, whose code is in a file of its own.  A user takes its memory
 * in one piece when the zone is made or the configuration is read anew (the
 * master, nobody else is there), and keeps house in it by itself: no worker
 * asks the slab for anything.
 *
 *   1. No pointer here leads out of the zone: it outlives each cycle, and is
 *      mapped at one address in the master and all its workers.
 *   2. A zone without room for a user leaves its pointer NULL: the user then
 *      does without, and a line in the log says so.  It is never an error of
 *      a request.
 *   3. Old and new workers use a zone at the same time.  What depends on the
 *      configuration is a part of the key, never of the place.
 *   4. A worker may die at any instruction, also with the mutex.  The master
 *      opens the mutex; owner, which was set under it, tells the next one
 *      that the data may be torn, and he empties what it guards.
 */

#ifndef _NGX_HTTP_TALLY_ZONE_H_INCLUDED_
#define _NGX_HTTP_TALLY_ZONE_H_INCLUDED_


#include "ngx_http_tally.h"


/* raised with each change of what follows, or of what a user keeps */
#define NGX_HTTP_TALLY_ZONE_LAYOUT        2

/* the tokens' share of a zone is 1 / this; the same for introspection */
#define NGX_HTTP_TALLY_ZONE_TOKENS        4
#define NGX_HTTP_TALLY_ZONE_INTROSPECTED  4
#define NGX_HTTP_TALLY_ZONE_REVOKED       8


typedef struct ngx_http_tally_store_s    ngx_http_tally_store_t;
typedef struct ngx_http_tally_revoked_s  ngx_http_tally_revoked_t;
typedef struct ngx_http_tally_local_s    ngx_http_tally_local_t;


typedef struct {
    ngx_uint_t                   layout;
    ngx_uint_t                   count;         /* of counters */

    ngx_http_tally_store_t      *tokens;        /* _shared.c */
    ngx_http_tally_store_t      *introspected;  /* _introspect.c */
    ngx_http_tally_revoked_t    *revoked;       /* _revoked.c */
    ngx_http_tally_local_t      *local;         /* _local.c */

    ngx_atomic_t                 counters[NGX_HTTP_TALLY_METRIC_COUNT];
} ngx_http_tally_shared_t;


/* ---- _zone.c ---- */

/* The zone's init: makes or takes over the header, lets each user set up. */
ngx_int_t ngx_http_tally_init_zone(ngx_shm_zone_t *shm_zone, void *data);

/* The header and the pool, for this process; NULL: there is no zone. */
void ngx_http_tally_zone_use(ngx_shm_zone_t *zone);
ngx_http_tally_shared_t *ngx_http_tally_zone_header(void);
ngx_slab_pool_t *ngx_http_tally_zone_pool(void);


#endif /* _NGX_HTTP_TALLY_ZONE_H_INCLUDED_ */
