#include "cmd/client.h"

#include <curl/curl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/listen.h"

#define URL_BYTES 512
#define HEADER_BYTES 512
#define TIMEOUT_MS (TG_CONTROL_WAIT_MS + 5000)
#define SCOPES "ops:read ops:write ops:approve"

struct answer {
    char *text;
    size_t len;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct answer *a = arg;
    size_t more = size * n;
    char *text;

    if (more > TG_API_BODY_MAX_BYTES - a->len) {
        return 0;
    }
    text = realloc(a->text, a->len + more + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text + a->len, data, more);
    a->text = text;
    a->len += more;
    text[a->len] = '\0';
    return more;
}

static const char *user_name(void)
{
    const struct passwd *p = getpwuid(getuid());

    return p != NULL ? p->pw_name : "unknown";
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value,
                                     bool *ok)
{
    char text[HEADER_BYTES];
    int n = snprintf(text, sizeof(text), "%s: %s", name, value);
    struct curl_slist *longer =
        n > 0 && (size_t)n < sizeof(text) ? curl_slist_append(list, text) : NULL;

    *ok = *ok && longer != NULL;
    return longer != NULL ? longer : list;
}

static struct curl_slist *headers_of(const char *tenant, bool *ok)
{
    char client[HEADER_BYTES / 2];
    struct curl_slist *list = NULL;

    (void)snprintf(client, sizeof(client), "cli:%.128s", user_name());
    list = add_header(list, "X-Tally-Tenant", tenant, ok);
    list = add_header(list, "X-Tally-Client", client, ok);
    list = add_header(list, "X-Tally-Scope", SCOPES, ok);
    return add_header(list, "Content-Type", "application/json", ok);
}

/* One of the options after the other, the first failure sticks. */
#define SET(rc, h, option, value)                                                                  \
    do {                                                                                           \
        if ((rc) == CURLE_OK) {                                                                    \
            (rc) = curl_easy_setopt((h), (option), (value));                                       \
        }                                                                                          \
    } while (0)

static CURLcode ask(const struct tg_listen *l, const char *method, const char *path,
                    const char *tenant, const char *body, struct answer *answer, long *status)
{
    CURL *h = curl_easy_init();
    bool ok = true;
    struct curl_slist *headers = headers_of(tenant, &ok);
    char url[URL_BYTES];
    CURLcode rc = h != NULL && ok ? CURLE_OK : CURLE_OUT_OF_MEMORY;

    (void)snprintf(url, sizeof(url), "http://%s:%u%s", l->is_ipv6 ? "[::1]" : "127.0.0.1",
                   l->is_unix ? 80U : l->port, path);
    if (l->is_unix) {
        SET(rc, h, CURLOPT_UNIX_SOCKET_PATH, l->path);
    }
    SET(rc, h, CURLOPT_URL, url);
    SET(rc, h, CURLOPT_CUSTOMREQUEST, method);
    SET(rc, h, CURLOPT_HTTPHEADER, headers);
    SET(rc, h, CURLOPT_NOSIGNAL, 1L);
    SET(rc, h, CURLOPT_PROXY, "");
    SET(rc, h, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    SET(rc, h, CURLOPT_WRITEFUNCTION, on_body);
    SET(rc, h, CURLOPT_WRITEDATA, answer);
    if (strcmp(method, "GET") != 0) {
        SET(rc, h, CURLOPT_POSTFIELDS, body);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_perform(h);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, status);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(h);
    return rc;
}

static int read_answer(const struct answer *a, long status, json_t **out, struct tg_error *err)
{
    json_t *json = json_loadb(a->text != NULL ? a->text : "", a->len, 0, NULL);
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const char *title = json_string_value(json_object_get(json, "title"));

    if (json != NULL && status >= 200 && status < 300) {
        *out = json;
        return 0;
    }
    (void)tg_error_set(err, "%s (status %ld)",
                       detail != NULL  ? detail
                       : title != NULL ? title
                                       : "the answer is not one of tallygate's",
                       status);
    json_decref(json);
    return -1;
}

static int failed(const struct tg_config *config, CURLcode rc, struct tg_error *err)
{
    if (rc == CURLE_COULDNT_CONNECT) {
        return tg_error_set(err,
                            "nothing listens on api.listen %s, or you may not open it: start "
                            "`tallygate serve`, or run this as its user",
                            config->api.listen);
    }
    if (rc == CURLE_OPERATION_TIMEDOUT) {
        return tg_error_set(err,
                            "no answer on api.listen %s in %d s: whether it was done is unknown; "
                            "look again, or send it once more, which does no harm",
                            config->api.listen, TIMEOUT_MS / 1000);
    }
    return tg_error_set(err, "api.listen %s: %s", config->api.listen, curl_easy_strerror(rc));
}

int tg_client_call(const struct tg_config *config, const char *method, const char *path,
                   const char *tenant, json_t *body, json_t **answer, struct tg_error *err)
{
    struct tg_listen l;
    struct answer a = {0};
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    long status = 0;
    CURLcode code;
    int rc = -1;

    if (body != NULL && text == NULL) {
        return tg_error_set(err, "out of memory");
    }
    if (tg_listen_parse(tg_str_of(config->api.listen), &l, err) == 0) {
        code = curl_global_init(CURL_GLOBAL_DEFAULT);
        if (code == CURLE_OK) {
            code = ask(&l, method, path, tenant, text != NULL ? text : "", &a, &status);
            curl_global_cleanup();
        }
        rc = code == CURLE_OK ? read_answer(&a, status, answer, err) : failed(config, code, err);
    }
    free(text);
    free(a.text);
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
