/*
 * events.c: GET /v1/events/{id}. The journal first; what it does not know yet is in the stream;
 * what is in neither may have been journalled between the two looks, so the journal once more.
 */
#include "api/handlers.h"
#include "api/story.h"
#include "common/codec.h"
#include "common/log.h"

static enum tg_story_result look_in_journal(struct tg_api_context *ctx, const char *event_id,
                                            struct tg_str tenant, json_t **out)
{
    struct tg_error err = {""};
    struct tg_reader *reader = tg_api_context_reader(ctx, &err);
    enum tg_story_result result = TG_STORY_FAILED;

    if (reader != NULL) {
        result = tg_story_read(reader, ctx->options->catalogue, event_id, tenant, out, &err);
    }
    if (result == TG_STORY_FAILED) {
        tg_log(TG_LOG_ERROR, "api", "event %s: cannot read the journal: %s", event_id, err.text);
        tg_api_context_drop_reader(ctx);
    }
    return result;
}

static json_t *in_stream_json(const char *event_id, const struct tg_peek_entry *e)
{
    char received[TG_RFC3339_BYTES];
    bool has_time =
        e->received_ms > 0 && tg_rfc3339_format(e->received_ms, received, sizeof(received)) == 0;

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:[], s:[]}", "id", event_id, "status",
                     tg_event_state_name(TG_EVENT_ACCEPTED), "stage",
                     tg_event_state_name(TG_EVENT_IN_STREAM), "type", e->type, "source", e->source,
                     "received_at", has_time ? received : NULL, "correlation_id", e->correlation_id,
                     "objects", "exceptions");
}

static void not_found(const struct tg_api_request *rq, struct tg_reply *out)
{
    tg_reply_problem(out, TG_PROBLEM_NOT_FOUND, rq->correlation_id,
                     "this tenant has no event of that id");
}

static void unavailable(const struct tg_api_request *rq, struct tg_reply *out, const char *what)
{
    tg_reply_problem(out, TG_PROBLEM_UNAVAILABLE, rq->correlation_id,
                     "%s does not answer now; try again later", what);
}

/* True when the journal's word is final; the reply is then made. */
static bool answer_from_journal(struct tg_api_context *ctx, const struct tg_api_request *rq,
                                const char *event_id, struct tg_reply *out)
{
    json_t *story = NULL;

    switch (look_in_journal(ctx, event_id, rq->tenant, &story)) {
    case TG_STORY_FOUND:
        tg_reply_json(out, 200, story, rq->correlation_id);
        return true;
    case TG_STORY_OTHER:
        not_found(rq, out);
        return true;
    case TG_STORY_FAILED:
        unavailable(rq, out, "the journal");
        return true;
    default:
        return false;
    }
}

void tg_api_event_status(struct tg_api_context *ctx, const struct tg_api_request *rq,
                         struct tg_reply *out)
{
    struct tg_event_id id;
    struct tg_peek_entry entry;
    struct tg_error err = {""};
    char event_id[TG_EVENT_ID_MAX_BYTES];

    /* Text that cannot be an id names no event: the same answer as for an unknown one. */
    if (tg_event_id_parse(rq->rest, &id) != 0 ||
        !tg_str_copy(rq->rest, event_id, sizeof(event_id))) {
        not_found(rq, out);
        return;
    }
    if (answer_from_journal(ctx, rq, event_id, out)) {
        return;
    }
    switch (tg_stream_peek(&ctx->peek, ctx->options->config, &id, rq->tenant, &entry, &err)) {
    case TG_PEEK_FOUND:
        tg_reply_json(out, 200, in_stream_json(event_id, &entry), rq->correlation_id);
        return;
    case TG_PEEK_UNAVAILABLE:
        tg_log(TG_LOG_WARN, "api", "event %s: cannot look into the stream: %s", event_id, err.text);
        unavailable(rq, out, "the stream");
        return;
    default:
        break;
    }
    if (!answer_from_journal(ctx, rq, event_id, out)) {
        not_found(rq, out);
    }
}
