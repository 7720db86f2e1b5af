
/*
 * The header of the shared memory: made at the first start, taken over by
 * each later configuration, refused when another version of the module has
 * made it.  See ngx_http_tally_zone.h.
 */


#include "ngx_http_tally_zone.h"


static ngx_http_tally_shared_t *ngx_http_tally_zone_make(
    ngx_shm_zone_t *shm_zone);


static ngx_http_tally_shared_t  *ngx_http_tally_shared;  /* of this process */
static ngx_slab_pool_t          *ngx_http_tally_pool;


ngx_int_t
ngx_http_tally_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t          *pool;
    ngx_http_tally_shared_t  *shared;

    pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data) {
        shared = data;

    } else if (shm_zone->shm.exists) {
        shared = pool->data;

    } else {
        shared = ngx_http_tally_zone_make(shm_zone);

        if (shared == NULL) {
            return NGX_ERROR;
        }
    }

    if (shared->layout != NGX_HTTP_TALLY_ZONE_LAYOUT
        || shared->count != NGX_HTTP_TALLY_METRIC_COUNT)
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "tally_zone \"%V\" was made by another version of the "
                      "module, restart nginx instead of reloading it",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    shm_zone->data = shared;

    return NGX_OK;
}


static ngx_http_tally_shared_t *
ngx_http_tally_zone_make(ngx_shm_zone_t *shm_zone)
{
    ngx_slab_pool_t          *pool;
    ngx_http_tally_shared_t  *shared;

    pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    /* a full zone is a case like any other for those who use it */
    pool->log_nomem = 0;

    shared = ngx_slab_calloc(pool, sizeof(ngx_http_tally_shared_t));
    if (shared == NULL) {
        return NULL;
    }

    shared->layout = NGX_HTTP_TALLY_ZONE_LAYOUT;
    shared->count = NGX_HTTP_TALLY_METRIC_COUNT;

    pool->data = shared;

    return shared;
}


void
ngx_http_tally_zone_use(ngx_shm_zone_t *zone)
{
    ngx_http_tally_shared = zone ? zone->data : NULL;
    ngx_http_tally_pool = zone ? (ngx_slab_pool_t *) zone->shm.addr : NULL;
}


ngx_http_tally_shared_t *
ngx_http_tally_zone_header(void)
{
    return ngx_http_tally_shared;
}


ngx_slab_pool_t *
ngx_http_tally_zone_pool(void)
{
    return ngx_http_tally_pool;
}
