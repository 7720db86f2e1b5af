#include "cmd/client.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/ask.h"

#define HEADER_BYTES 512
#define TIMEOUT_MS (TG_CONTROL_WAIT_MS + 5000)
#define SCOPES_HEADER "X-Tally-Scope: ops:read ops:write ops:approve"

static const char *user_name(void)
{
    const struct passwd *p = getpwuid(getuid());

    return p != NULL ? p->pw_name : "unknown";
}

static int read_answer(const struct tg_answer *a, json_t **out, struct tg_error *err)
{
    json_t *json = json_loadb(a->body, a->len, 0, NULL);
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const char *title = json_string_value(json_object_get(json, "title"));

    if (json != NULL && a->status >= 200 && a->status < 300) {
        *out = json;
        return 0;
    }
    (void)tg_error_set(err, "%s (status %ld)",
                       detail != NULL  ? detail
                       : title != NULL ? title
                                       : "the answer is not one of tallygate's",
                       a->status);
    json_decref(json);
    return -1;
}

static int failed(const struct tg_config *config, enum tg_asked asked, const char *why,
                  struct tg_error *err)
{
    if (asked == TG_ASKED_NOBODY) {
        return tg_error_set(err,
                            "nothing listens on api.listen %s, or you may not open it: start "
                            "`tallygate serve`, or run this as its user",
                            config->api.listen);
    }
    if (asked == TG_ASKED_LATE) {
        return tg_error_set(err,
                            "no answer on api.listen %s in %d s: whether it was done is unknown; "
                            "look again, or send it once more, which does no harm",
                            config->api.listen, TIMEOUT_MS / 1000);
    }
    return tg_error_set(err, "api.listen %s: %s", config->api.listen, why);
}

int tg_client_call(const struct tg_config *config, const char *method, const char *path,
                   const char *tenant, json_t *body, json_t **answer, struct tg_error *err)
{
    char as_tenant[HEADER_BYTES], as_client[HEADER_BYTES];
    const char *const headers[] = {as_tenant, as_client, SCOPES_HEADER,
                                   "Content-Type: application/json", NULL};
    struct tg_ask q = {.method = method,
                       .path = path,
                       .headers = headers,
                       .timeout_ms = TIMEOUT_MS,
                       .body_max_bytes = TG_API_BODY_MAX_BYTES};
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    struct tg_answer a;
    struct tg_error why = {""};
    enum tg_asked asked;
    int rc = -1;

    if (body != NULL && text == NULL) {
        return tg_error_set(err, "out of memory");
    }
    (void)snprintf(as_tenant, sizeof(as_tenant), "X-Tally-Tenant: %.*s", TG_TENANT_MAX_BYTES,
                   tenant);
    (void)snprintf(as_client, sizeof(as_client), "X-Tally-Client: cli:%.128s", user_name());
    if (strcmp(method, "GET") != 0) {
        q.body = text != NULL ? text : "";
    }
    if (tg_listen_parse(tg_str_of(config->api.listen), &q.where, err) == 0) {
        asked = tg_ask(&q, &a, &why);
        if (asked == TG_ASKED_ANSWERED) {
            rc = read_answer(&a, answer, err);
            tg_answer_free(&a);
        } else {
            rc = failed(config, asked, why.text, err);
        }
    }
    free(text);
    return rc;
}

const char *tg_client_tenant(const struct tg_config *config, const char *given,
                             struct tg_error *err)
{
    if (given != NULL) {
        if (tg_config_tenant(config, tg_str_of(given)) == NULL) {
            (void)tg_error_set(err, "tenant %s is not in the configuration", given);
            return NULL;
        }
        return given;
    }
    if (config->tenant_count != 1) {
        (void)tg_error_set(err, "there are %zu tenants: say which one with --tenant",
                           config->tenant_count);
        return NULL;
    }
    return config->tenants[0].id;
}
