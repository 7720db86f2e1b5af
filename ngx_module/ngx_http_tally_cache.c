
/*
 * Verified tokens of this worker: an LRU of fixed size, keyed by the SHA-256
 * of the token, its issuer and the generation of that issuer's key set.  The
 * token itself is never stored; a refused one is not remembered.
 *
 * 1. A node is in the hash and in the LRU queue, or unused.
 * 2. A node in use owns one reference to its claims.
 * 3. A hit says nothing about exp and nbf: the caller checks them again.
 */


#include "ngx_http_tally.h"


#define NGX_HTTP_TALLY_CACHE_BUCKETS  2048          /* a power of 2 */


typedef struct ngx_http_tally_node_s  ngx_http_tally_node_t;

struct ngx_http_tally_node_s {
    ngx_queue_t                  queue;         /* head: used last */
    ngx_http_tally_node_t       *next;          /* in the bucket */
    ngx_http_tally_issuer_t     *issuer;
    ngx_uint_t                   generation;
    u_char                       digest[TG_SHA256_BYTES];
    struct tg_jwt                jwt;
};


typedef struct {
    ngx_http_tally_node_t       *buckets[NGX_HTTP_TALLY_CACHE_BUCKETS];
    ngx_queue_t                  queue;
    ngx_uint_t                   used;
    ngx_http_tally_node_t        nodes[NGX_HTTP_TALLY_CACHE_MAX];
} ngx_http_tally_cache_t;


static ngx_http_tally_node_t **ngx_http_tally_cache_bucket(
    const u_char *digest);
static ngx_http_tally_node_t *ngx_http_tally_cache_find(const u_char *digest,
    ngx_http_tally_issuer_t *issuer);
static ngx_http_tally_node_t *ngx_http_tally_cache_take(void);
static void ngx_http_tally_cache_unlink(ngx_http_tally_node_t *node);


static ngx_http_tally_cache_t  *ngx_http_tally_cache;   /* of this process */


ngx_int_t
ngx_http_tally_cache_init(ngx_cycle_t *cycle)
{
    ngx_http_tally_cache_t  *cache;

    cache = ngx_alloc(sizeof(ngx_http_tally_cache_t), cycle->log);
    if (cache == NULL) {
        return NGX_ERROR;
    }

    /* the nodes' pages are touched as they are taken */

    ngx_memzero(cache->buckets, sizeof(cache->buckets));
    ngx_queue_init(&cache->queue);
    cache->used = 0;

    ngx_http_tally_cache = cache;

    return NGX_OK;
}


void
ngx_http_tally_cache_done(void)
{
    ngx_uint_t  i;

    if (ngx_http_tally_cache == NULL) {
        return;
    }

    for (i = 0; i < ngx_http_tally_cache->used; i++) {
        tg_jwt_clear(&ngx_http_tally_cache->nodes[i].jwt);
    }

    ngx_free(ngx_http_tally_cache);
    ngx_http_tally_cache = NULL;
}


ngx_int_t
ngx_http_tally_cache_get(const unsigned char *digest,
    ngx_http_tally_issuer_t *issuer, struct tg_jwt *out)
{
    ngx_http_tally_node_t  *node;

    node = ngx_http_tally_cache_find(digest, issuer);

    if (node == NULL || node->generation != issuer->generation) {
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_CACHE_MISS);
        return NGX_DECLINED;
    }

    ngx_queue_remove(&node->queue);
    ngx_queue_insert_head(&ngx_http_tally_cache->queue, &node->queue);

    *out = node->jwt;
    (void) json_incref(out->claims);

    ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_CACHE_HIT);

    return NGX_OK;
}


void
ngx_http_tally_cache_put(const unsigned char *digest,
    ngx_http_tally_issuer_t *issuer, const struct tg_jwt *jwt)
{
    ngx_http_tally_node_t  *node, **bucket;

    if (ngx_http_tally_cache == NULL) {
        return;
    }

    /* one of an older key set is replaced */

    node = ngx_http_tally_cache_find(digest, issuer);

    if (node) {
        ngx_queue_remove(&node->queue);
        ngx_http_tally_cache_unlink(node);
        tg_jwt_clear(&node->jwt);

    } else {
        node = ngx_http_tally_cache_take();
    }

    ngx_memcpy(node->digest, digest, TG_SHA256_BYTES);
    node->issuer = issuer;
    node->generation = issuer->generation;
    node->jwt = *jwt;
    (void) json_incref(node->jwt.claims);

    bucket = ngx_http_tally_cache_bucket(digest);
    node->next = *bucket;
    *bucket = node;

    ngx_queue_insert_head(&ngx_http_tally_cache->queue, &node->queue);
}


static ngx_http_tally_node_t **
ngx_http_tally_cache_bucket(const u_char *digest)
{
    ngx_uint_t  n;

    n = (ngx_uint_t) digest[0] | ((ngx_uint_t) digest[1] << 8);

    return &ngx_http_tally_cache->buckets[n & (NGX_HTTP_TALLY_CACHE_BUCKETS
                                               - 1)];
}


static ngx_http_tally_node_t *
ngx_http_tally_cache_find(const u_char *digest,
    ngx_http_tally_issuer_t *issuer)
{
    ngx_http_tally_node_t  *node;

    if (ngx_http_tally_cache == NULL) {
        return NULL;
    }

    for (node = *ngx_http_tally_cache_bucket(digest);
         node;
         node = node->next)
    {
        if (node->issuer == issuer
            && ngx_memcmp(node->digest, digest, TG_SHA256_BYTES) == 0)
        {
            return node;
        }
    }

    return NULL;
}


/* a node that is in no list: a fresh one, or the one unused for longest */

static ngx_http_tally_node_t *
ngx_http_tally_cache_take(void)
{
    ngx_queue_t            *q;
    ngx_http_tally_node_t  *node;

    if (ngx_http_tally_cache->used < NGX_HTTP_TALLY_CACHE_MAX) {
        return &ngx_http_tally_cache->nodes[ngx_http_tally_cache->used++];
    }

    q = ngx_queue_last(&ngx_http_tally_cache->queue);
    node = ngx_queue_data(q, ngx_http_tally_node_t, queue);

    ngx_queue_remove(q);
    ngx_http_tally_cache_unlink(node);
    tg_jwt_clear(&node->jwt);

    return node;
}


static void
ngx_http_tally_cache_unlink(ngx_http_tally_node_t *node)
{
    ngx_http_tally_node_t  **p;

    for (p = ngx_http_tally_cache_bucket(node->digest);
         *p;
         p = &(*p)->next)
    {
        if (*p == node) {
            *p = node->next;
            return;
        }
    }
}
