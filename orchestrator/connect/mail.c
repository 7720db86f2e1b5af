#include "connect/mail.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Renamed in 8.2. */
#if LIBCURL_VERSION_NUM >= 0x080200
#define RCPT_MAY_FAIL CURLOPT_MAIL_RCPT_ALLOWFAILS
#else
#define RCPT_MAY_FAIL CURLOPT_MAIL_RCPT_ALLLOWFAILS
#endif

struct sending {
    const struct tg_mail_server *server;
    struct tg_str left;
    char refused[128]; /* why the address is not reached; "": it was */
};

int tg_mail_global(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -1;
}

/* ---- what is configured ---- */

static bool is_smtps(struct tg_str url)
{
    return url.len > 8 && memcmp(url.data, "smtps://", 8) == 0;
}

static bool is_host_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == ':' || c == '[' || c == ']' || c == '_';
}

int tg_mail_url_check(struct tg_str url, struct tg_error *err)
{
    size_t start = is_smtps(url) ? 8 : 7;

    if (!is_smtps(url) && (url.len <= 7 || memcmp(url.data, "smtp://", 7) != 0)) {
        return tg_error_set(err, "does not begin with smtp:// or smtps://");
    }
    if (url.len >= TG_HTTP_URL_MAX_BYTES) {
        return tg_error_set(err, "is longer than %d bytes", TG_HTTP_URL_MAX_BYTES - 1);
    }
    for (size_t i = start; i < url.len; i++) {
        if (!is_host_byte(url.data[i])) {
            return tg_error_set(err, "has more than host and port; user and password have keys of "
                                     "their own");
        }
    }
    return 0;
}

bool tg_mail_is_address(struct tg_str text)
{
    size_t at = 0, ats = 0;

    if (text.len < 3 || text.len > TG_MAIL_ADDRESS_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f || strchr("<>,;:\\\"()[]", text.data[i])) {
            return false;
        }
        if (text.data[i] == '@') {
            at = i;
            ats++;
        }
    }
    return ats == 1 && at > 0 && at + 1 < text.len;
}

/* ---- the address ---- */

static bool is_encrypted(const struct tg_mail_server *s)
{
    return s->tls == TG_MAIL_TLS_REQUIRED || is_smtps(tg_str_of(s->url));
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct sending *s = arg;
    const char *fault = tg_address_fault(&a->addr);
    char text[TG_ADDRESS_TEXT_BYTES];

    (void)purpose;
    if (fault == NULL && !is_encrypted(s->server)) {
        fault = "reached without TLS";
    }
    if (fault != NULL &&
        !tg_address_is_listed(&a->addr, s->server->allow, s->server->allow_count)) {
        tg_address_format(&a->addr, text);
        (void)snprintf(s->refused, sizeof(s->refused), "address %s is %s and not in the allow-list",
                       text, fault);
        return CURL_SOCKET_BAD;
    }
    s->refused[0] = '\0';
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- sending ---- */

static size_t on_read(char *out, size_t one, size_t room, void *arg)
{
    struct sending *s = arg;
    size_t n = s->left.len < room * one ? s->left.len : room * one;

    memcpy(out, s->left.data, n);
    s->left.data += n;
    s->left.len -= n;
    return n;
}

/* First line of the file; 0 or -1. */
static int read_password(const char *path, char out[TG_REDIS_PASSWORD_MAX_BYTES],
                         struct tg_error *err)
{
    FILE *f = fopen(path, "re");
    bool got;

    if (f == NULL) {
        return tg_error_set(err, "password file %s: %s", path, strerror(errno));
    }
    got = fgets(out, TG_REDIS_PASSWORD_MAX_BYTES, f) != NULL;
    (void)fclose(f);
    if (got) {
        out[strcspn(out, "\r\n")] = '\0';
    }
    return got && out[0] != '\0' ? 0 : tg_error_set(err, "password file %s is empty", path);
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct sending *s = arg;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return s->server->stop != NULL && atomic_load(s->server->stop);
}

#define SET(option, value) (curl_easy_setopt(easy, (option), (value)) == CURLE_OK)

static bool set_server(CURL *easy, const struct tg_mail_server *s)
{
    static const long use_ssl[] = {[TG_MAIL_TLS_REQUIRED] = CURLUSESSL_ALL,
                                   [TG_MAIL_TLS_OFFERED] = CURLUSESSL_TRY,
                                   [TG_MAIL_TLS_OFF] = CURLUSESSL_NONE};
    const long tls = is_smtps(tg_str_of(s->url)) ? (long)CURLUSESSL_ALL : use_ssl[s->tls];

    return SET(CURLOPT_URL, s->url) && SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_PROXY, "") &&
           SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) &&
           SET(CURLOPT_PROTOCOLS_STR, is_smtps(tg_str_of(s->url)) ? "smtps" : "smtp") &&
           SET(CURLOPT_USE_SSL, tls) && SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
           (s->ca_file == NULL || SET(CURLOPT_CAINFO, s->ca_file)) &&
           SET(CURLOPT_CONNECTTIMEOUT_MS, (long)TG_MAIL_CONNECT_MS) &&
           SET(CURLOPT_TIMEOUT_MS, (long)TG_MAIL_TOTAL_MS);
}

static bool set_mail(CURL *easy, struct sending *s, const struct tg_mail *m,
                     struct curl_slist *rcpt)
{
    return SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket) && SET(CURLOPT_OPENSOCKETDATA, s) &&
           SET(CURLOPT_MAIL_FROM, m->from) && SET(CURLOPT_MAIL_RCPT, rcpt) &&
           SET(CURLOPT_UPLOAD, 1L) && SET(CURLOPT_READFUNCTION, on_read) &&
           SET(CURLOPT_READDATA, s) && SET(CURLOPT_XFERINFOFUNCTION, on_progress) &&
           SET(CURLOPT_XFERINFODATA, s) && SET(CURLOPT_NOPROGRESS, 0L);
}

/* One try. libcurl's result; err says what a person needs. */
static CURLcode try_send(CURL *easy, struct sending *s, const struct tg_mail *m, long *code,
                         struct tg_error *err)
{
    char why[CURL_ERROR_SIZE] = "";
    CURLcode result;

    s->left = m->message;
    s->refused[0] = '\0';
    if (curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, why) != CURLE_OK) {
        return CURLE_OUT_OF_MEMORY;
    }
    result = curl_easy_perform(easy);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, code);
    if (result != CURLE_OK) {
        (void)tg_error_set(err, "mail server %s: %s", s->server->url,
                           s->refused[0] != '\0' ? s->refused
                           : why[0] != '\0'      ? why
                                                 : curl_easy_strerror(result));
    }
    return result;
}

static int send_with(CURL *easy, struct sending *s, const struct tg_mail *m,
                     struct curl_slist *rcpt, const char *password, struct tg_error *err)
{
    struct tg_error first = {""};
    long code = 0;

    if (!set_server(easy, s->server) || !set_mail(easy, s, m, rcpt) ||
        (password != NULL &&
         (!SET(CURLOPT_USERNAME, s->server->user) || !SET(CURLOPT_PASSWORD, password)))) {
        return tg_error_set(err, "libcurl cannot send mail, or is out of memory");
    }
    if (try_send(easy, s, m, &code, &first) == CURLE_OK) {
        return 0;
    }
    /* 5xx with several recipients: it may have been one of them. */
    if (m->to_count > 1 && code >= 500 && SET(RCPT_MAY_FAIL, 1L) &&
        try_send(easy, s, m, &code, err) == CURLE_OK) {
        (void)tg_error_set(err, "a recipient was refused, the others have it: %s", first.text);
        return 0;
    }
    *err = first;
    return -1;
}

int tg_mail_send(const struct tg_mail_server *s, const struct tg_mail *m, struct tg_error *err)
{
    struct sending sending = {.server = s};
    struct curl_slist *rcpt = NULL;
    char password[TG_REDIS_PASSWORD_MAX_BYTES];
    CURL *easy = NULL;
    bool fine = true;
    int result = -1;

    err->text[0] = '\0';
    password[0] = '\0';
    if (s->user != NULL && s->password_file != NULL &&
        read_password(s->password_file, password, err) != 0) {
        return -1;
    }
    for (size_t i = 0; fine && i < m->to_count; i++) {
        struct curl_slist *more = curl_slist_append(rcpt, m->to[i]);

        fine = more != NULL;
        rcpt = fine ? more : rcpt;
    }
    easy = fine ? curl_easy_init() : NULL;
    if (easy == NULL) {
        (void)tg_error_set(err, "out of memory");
    } else {
        result = send_with(easy, &sending, m, rcpt, s->user != NULL ? password : NULL, err);
        curl_easy_cleanup(easy);
    }
    curl_slist_free_all(rcpt);
    explicit_bzero(password, sizeof(password));
    return result;
}
