#include "api/ops_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/cursor.h"
#include "common/log.h"

static struct tg_cursor_of cursor_of(const struct tg_ops_list *l)
{
    size_t count = TG_OPS_FILTERS;

    while (l->names[count] != NULL) {
        count++;
    }
    return (struct tg_cursor_of){.key = tg_str_of(l->key),
                                 .list = l->name,
                                 .tenant = l->rq->tenant,
                                 .names = l->names + TG_OPS_FILTERS,
                                 .values = l->values + TG_OPS_FILTERS,
                                 .count = count - TG_OPS_FILTERS};
}

static void unavailable(struct tg_ops_list *l, const struct tg_error *err)
{
    tg_log(TG_LOG_ERROR, "api", "ops: cannot read the journal: %s", err->text);
    tg_api_context_drop_reader(l->ctx);
    tg_reply_problem(l->out, TG_PROBLEM_UNAVAILABLE, l->rq->correlation_id,
                     "the journal does not answer now; try again later");
}

static bool open_reader(struct tg_ops_list *l)
{
    struct tg_error err = {""};

    l->reader = tg_api_context_reader(l->ctx, &err);
    if (l->reader == NULL || tg_reader_journal_id(l->reader, l->key, &err) != 0) {
        unavailable(l, &err);
        return false;
    }
    return true;
}

/* l->place from the cursor, l->limit. */
static bool read_page(struct tg_ops_list *l)
{
    const struct tg_str cursor = l->values[TG_OPS_CURSOR];
    struct tg_cursor_of of = cursor_of(l);
    struct tg_error err = {""};

    l->limit = TG_OPS_PAGE_DEFAULT;
    if (tg_param_limit(l->names[TG_OPS_LIMIT], l->values[TG_OPS_LIMIT], &l->limit, &err) != 0) {
        tg_ops_refuse(l, TG_PROBLEM_QUERY_INVALID, err.text);
        return false;
    }
    if (cursor.data != NULL && tg_cursor_read(&of, cursor, l->place) != 0) {
        tg_ops_refuse(l, TG_PROBLEM_CURSOR_INVALID,
                      "this cursor was not given by this list with these filters to this tenant; "
                      "send the filters as they were, or begin again without `cursor`");
        return false;
    }
    return true;
}

bool tg_ops_open(struct tg_ops_list *l, struct tg_api_context *ctx, const struct tg_api_request *rq,
                 const char *const *names, struct tg_reply *out)
{
    struct tg_error err = {""};

    memset(l, 0, sizeof(*l));
    l->ctx = ctx;
    l->rq = rq;
    l->out = out;
    l->names = names;
    l->tenant = tg_config_tenant(ctx->options->config, rq->tenant);
    if (l->tenant == NULL) {
        tg_reply_problem(out, TG_PROBLEM_TENANT_MISSING, rq->correlation_id,
                         "no tenant of that name is configured");
        return false;
    }
    if (tg_params_read(rq->args, rq->arg_count, rq->args_cut, names, l->values, &err) != 0) {
        tg_ops_refuse(l, TG_PROBLEM_QUERY_INVALID, err.text);
        return false;
    }
    return open_reader(l);
}

bool tg_ops_list_begin(struct tg_ops_list *l, struct tg_api_context *ctx,
                       const struct tg_api_request *rq, const char *name, const char *const *names,
                       struct tg_reply *out)
{
    if (!tg_api_may(rq, TG_API_READ_SCOPE, out) || !tg_ops_open(l, ctx, rq, names, out)) {
        return false;
    }
    l->name = name;
    if (name != NULL && !read_page(l)) {
        return false;
    }
    l->rows = name != NULL ? json_array() : NULL;
    l->failed = name != NULL && l->rows == NULL;
    return true;
}

void tg_ops_refuse(struct tg_ops_list *l, enum tg_problem_code code, const char *text)
{
    tg_reply_problem(l->out, code, l->rq->correlation_id, "%s", text);
    json_decref(l->rows);
    l->rows = NULL;
}

bool tg_ops_list_add(struct tg_ops_list *l, json_t *row)
{
    if (row == NULL || json_array_append_new(l->rows, row) != 0) {
        l->failed = true;
        return false;
    }
    return json_array_size(l->rows) < l->limit;
}

void tg_ops_list_end(struct tg_ops_list *l, int rc, const struct tg_error *err, const char *next)
{
    const struct tg_cursor_of of = cursor_of(l);
    char cursor[TG_CURSOR_MAX_BYTES + 1];

    if (rc < 0 && !l->failed) {
        unavailable(l, err);
        json_decref(l->rows);
        return;
    }
    if (l->failed || (next != NULL && tg_cursor_write(&of, next, cursor) != 0)) {
        json_decref(l->rows);
        l->rows = NULL;
    }
    tg_reply_json(l->out, 200,
                  l->rows != NULL ? json_pack("{s:o, s:s?}", l->name, l->rows, "next",
                                              next != NULL ? cursor : NULL)
                                  : NULL,
                  l->rq->correlation_id);
}

void tg_ops_show_end(struct tg_ops_list *l, int rc, const struct tg_error *err, json_t *json)
{
    if (rc < 0 && !l->failed) {
        json_decref(json);
        unavailable(l, err);
    } else if (json == NULL && !l->failed) {
        tg_reply_problem(l->out, TG_PROBLEM_NOT_FOUND, l->rq->correlation_id,
                         "this tenant has no such thing");
    } else {
        tg_reply_json(l->out, 200, l->failed ? NULL : json, l->rq->correlation_id);
        if (l->failed) {
            json_decref(json);
        }
    }
}

/* ---- walks ---- */

/* "17.4.0" */
static bool numbers_of(const char *text, int64_t out[3])
{
    for (size_t i = 0; i < 3; i++) {
        const size_t len = strcspn(text, ".");

        if (!tg_str_to_i64((struct tg_str){(const unsigned char *)text, len}, &out[i]) ||
            (text[len] == '.') != (i < 2)) {
            return false;
        }
        text += len + 1;
    }
    return true;
}

bool tg_ops_walk_from(struct tg_ops_list *l, struct tg_walk *w)
{
    memset(w, 0, sizeof(*w));
    if (l->place[0] == '\0' || numbers_of(l->place, w->at)) {
        return true;
    }
    tg_ops_refuse(
        l, TG_PROBLEM_CURSOR_INVALID,
        "this cursor is of another version of this program; begin again without `cursor`");
    return false;
}

void tg_ops_walk_end(struct tg_ops_list *l, int rc, const struct tg_error *err,
                     const struct tg_walk *w)
{
    char place[TG_CURSOR_PLACE_MAX_BYTES + 1];

    (void)snprintf(place, sizeof(place), "%" PRId64 ".%" PRId64 ".%" PRId64, w->at[0], w->at[1],
                   w->at[2]);
    tg_ops_list_end(l, rc, err, w->over ? NULL : place);
}

bool tg_ops_texts(struct tg_ops_list *l, size_t from, size_t to)
{
    struct tg_error err = {""};

    for (size_t i = from; i <= to; i++) {
        if (tg_param_text(l->names[i], l->values[i], TG_SUBJECT_MAX_BYTES, &err) != 0) {
            tg_ops_refuse(l, TG_PROBLEM_QUERY_INVALID, err.text);
            return false;
        }
    }
    return true;
}

bool tg_ops_span(struct tg_ops_list *l, size_t since, size_t until, struct tg_span *out)
{
    struct tg_error err = {""};

    *out = (struct tg_span){0, INT64_MAX};
    if (tg_param_time(l->names[since], l->values[since], &out->since_ms, &err) == 0 &&
        tg_param_time(l->names[until], l->values[until], &out->until_ms, &err) == 0) {
        return true;
    }
    tg_ops_refuse(l, TG_PROBLEM_QUERY_INVALID, err.text);
    return false;
}
