/*
 * ops_list.h: what the reading calls of /v1/ops share: scope, tenant, parameters, cursor, reader,
 * and the page that is answered: {"NAME": [rows], "next": cursor or null}.
 *
 * How a handler goes: tg_ops_list_begin; its own filters from `values`; the walk, adding rows;
 * tg_ops_list_end with the place where it stopped. Between, tg_ops_refuse ends it with a problem.
 *
 * Ownership: a list lives on its handler's stack and is ended by one of the two ends. Views belong
 * to the request.
 */
#ifndef TG_API_OPS_LIST_H
#define TG_API_OPS_LIST_H

#include "api/handlers.h"
#include "journal/query.h"

/* Places of `values` and of the names that every list begins with. */
enum { TG_OPS_CURSOR, TG_OPS_LIMIT, TG_OPS_FILTERS };

struct tg_ops_list {
    struct tg_api_context *ctx;
    const struct tg_api_request *rq;
    struct tg_reply *out;
    const char *name;
    const char *const *names;              /* "cursor", "limit", filters, NULL; or its own */
    struct tg_str values[TG_API_ARGS_MAX]; /* in the order of names; data NULL: not given */
    const struct tg_config_tenant *tenant;
    struct tg_reader *reader;
    char key[TG_JOURNAL_ID_BYTES + 1]; /* of cursors */
    size_t limit;
    char place[TG_CURSOR_PLACE_MAX_BYTES + 1]; /* "": from the beginning */
    json_t *rows;                              /* owned */
    bool failed;                               /* out of memory */
};

/*
 * False: the reply is made and nothing is left to end. name: of the member with the rows, and of
 * the cursor; NULL: one thing is shown, and names are its own alone.
 */
bool tg_ops_list_begin(struct tg_ops_list *l, struct tg_api_context *ctx,
                       const struct tg_api_request *rq, const char *name, const char *const *names,
                       struct tg_reply *out);
/* The same without cursor and limit, and without asking for a scope: for a call that asks for its
 * own. */
bool tg_ops_open(struct tg_ops_list *l, struct tg_api_context *ctx, const struct tg_api_request *rq,
                 const char *const *names, struct tg_reply *out);
/* A parameter or a cursor is wrong. */
void tg_ops_refuse(struct tg_ops_list *l, enum tg_problem_code code, const char *text);
/* Takes row. True while the page has room. */
bool tg_ops_list_add(struct tg_ops_list *l, json_t *row);
/* rc, err: of the walk. next: where it goes on; NULL: nowhere. */
void tg_ops_list_end(struct tg_ops_list *l, int rc, const struct tg_error *err, const char *next);
/* The same for one thing: takes json, or with NULL says not_found. */
void tg_ops_show_end(struct tg_ops_list *l, int rc, const struct tg_error *err, json_t *json);

/* l->place as numbers; false: it was no such place, and the reply is made. */
bool tg_ops_walk_from(struct tg_ops_list *l, struct tg_walk *w);
/* Ends the list where the walk stopped. */
void tg_ops_walk_end(struct tg_ops_list *l, int rc, const struct tg_error *err,
                     const struct tg_walk *w);

/* Each of `values` from..to is one line, or not given. False: the reply is made. */
bool tg_ops_texts(struct tg_ops_list *l, size_t from, size_t to);
/* since and until at these places of `values`. False: the reply is made. */
bool tg_ops_span(struct tg_ops_list *l, size_t since, size_t until, struct tg_span *out);

#endif
