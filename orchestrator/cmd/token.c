/*
 * token.c: `tallygate token keys` and `tallygate token sign`.
 */
#include "cmd/token.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/files.h"

#define PATH_BYTES 4096
#define NAME_MAX_BYTES 64
#define PRIVATE_MODE 0600
#define PUBLIC_MODE 0644
#define TTL_DEFAULT_S 3600
#define TTL_MAX_S (366 * 24 * 3600)
#define COMMAND "token"

/* ---- keys ---- */

struct keys_options {
    const char *out, *name, *kid;
    enum tg_alg alg;
    bool force;
};

static int parse_alg(const char *text, enum tg_alg *out)
{
    *out = tg_alg_of(tg_str_of(text));
    if (*out == TG_ALG_NONE) {
        return tg_cmd_usage_error(COMMAND, "algorithm `%s`; accepted: RS256, ES256, EdDSA", text);
    }
    return TG_EXIT_OK;
}

static int keys_arguments(int argc, char **argv, struct keys_options *o)
{
    static const struct option options[] = {
        {"out", required_argument, NULL, 'o'}, {"name", required_argument, NULL, 'n'},
        {"alg", required_argument, NULL, 'a'}, {"kid", required_argument, NULL, 'k'},
        {"force", no_argument, NULL, 'f'},     {NULL, 0, NULL, 0},
    };
    int c;

    tg_cmd_getopt_reset();
    while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (c) {
        case 'o':
            o->out = optarg;
            break;
        case 'n':
            o->name = optarg;
            break;
        case 'a':
            if (parse_alg(optarg, &o->alg) != TG_EXIT_OK) {
                return TG_EXIT_USAGE;
            }
            break;
        case 'k':
            o->kid = optarg;
            break;
        case 'f':
            o->force = true;
            break;
        default:
            return tg_cmd_usage_error(COMMAND, "`%s` is not understood", argv[optind - 1]);
        }
    }
    if (optind < argc) {
        return tg_cmd_usage_error(COMMAND, "`%s` is not understood", argv[optind]);
    }
    o->kid = o->kid != NULL ? o->kid : o->name;
    if (!tg_str_is_name(tg_str_of(o->name), NAME_MAX_BYTES) ||
        !tg_str_is_printable(tg_str_of(o->kid), NAME_MAX_BYTES)) {
        return tg_cmd_usage_error(COMMAND,
                                  "--name takes 1 to %d of A-Z a-z 0-9 . _ -, --kid 1 to "
                                  "%d printable characters",
                                  NAME_MAX_BYTES, NAME_MAX_BYTES);
    }
    return TG_EXIT_OK;
}

static int join_path(char *out, const char *dir, const char *name, const char *ending,
                     struct tg_error *err)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s%s", dir, name, ending);

    return n > 0 && n < PATH_BYTES ? 0 : tg_error_set(err, "%s: the path is too long", dir);
}

/* The private key first: without --force an existing one stops here, before the set is touched. */
static int write_pair(const struct keys_options *o, EVP_PKEY *key, struct tg_error *err)
{
    char pem_path[PATH_BYTES], jwks_path[PATH_BYTES];
    char *pem = tg_key_private_pem(key, err);
    json_t *set = tg_key_jwks(key, o->kid, err);
    char *text = set != NULL ? json_dumps(set, JSON_INDENT(2)) : NULL;
    int rc = -1;

    if (pem != NULL && text != NULL && join_path(pem_path, o->out, o->name, ".pem", err) == 0 &&
        join_path(jwks_path, o->out, o->name, ".jwks", err) == 0 &&
        tg_file_write(pem_path, PRIVATE_MODE, o->force, tg_str_of(pem), err) == 0 &&
        tg_file_write(jwks_path, PUBLIC_MODE, true, tg_str_of(text), err) == 0) {
        printf("token: %s key `%s`: private %s, public %s\n", tg_alg_name(o->alg), o->kid, pem_path,
               jwks_path);
        rc = 0;
    }
    if (pem != NULL) {
        explicit_bzero(pem, strlen(pem));
    }
    free(pem);
    free(text);
    json_decref(set);
    return rc;
}

static int keys(int argc, char **argv)
{
    struct keys_options o = {.name = "demo", .alg = TG_ALG_ES256};
    struct tg_error err = {""};
    EVP_PKEY *key;
    int rc = keys_arguments(argc, argv, &o);

    if (rc != TG_EXIT_OK) {
        return rc;
    }
    if (o.out == NULL || o.out[0] == '\0') {
        return tg_cmd_usage_error(COMMAND, "--out DIR is missing");
    }
    if (mkdir(o.out, 0755) != 0 && errno != EEXIST) {
        return tg_cmd_failed(COMMAND, "%s: cannot make the directory: %s", o.out, strerror(errno));
    }
    key = tg_key_make(o.alg, &err);
    if (key == NULL || write_pair(&o, key, &err) != 0) {
        rc = tg_cmd_failed(COMMAND, "%s", err.text);
    }
    EVP_PKEY_free(key);
    return rc;
}

/* ---- sign ---- */

struct sign_options {
    const char *key, *kid, *typ;
    enum tg_alg alg; /* NONE: the key's */
    int64_t ttl_s;
    json_t *claims; /* owned */
};

static int set_claim(struct sign_options *o, const char *name, const char *value)
{
    if (json_object_set_new(o->claims, name, json_string(value)) != 0) {
        return tg_cmd_usage_error(COMMAND, "claim `%s`: the value is not UTF-8 text", name);
    }
    return TG_EXIT_OK;
}

static int set_free_claim(struct sign_options *o, const char *text)
{
    char name[NAME_MAX_BYTES + 1];
    const char *equals = strchr(text, '=');
    struct tg_str key = {(const unsigned char *)text, equals != NULL ? (size_t)(equals - text) : 0};

    if (key.len == 0 || !tg_str_copy(key, name, sizeof(name))) {
        return tg_cmd_usage_error(COMMAND, "--claim takes NAME=VALUE, NAME at most %d characters",
                                  NAME_MAX_BYTES);
    }
    return set_claim(o, name, equals + 1);
}

/* A negative time makes an expired token, for tests. */
static int set_ttl(struct sign_options *o, const char *text)
{
    bool negative = text[0] == '-';

    if (!tg_str_to_i64(tg_str_of(text + (negative ? 1 : 0)), &o->ttl_s) || o->ttl_s > TTL_MAX_S) {
        return tg_cmd_usage_error(COMMAND, "--ttl takes seconds, -%d to %d", TTL_MAX_S, TTL_MAX_S);
    }
    o->ttl_s = negative ? -o->ttl_s : o->ttl_s;
    return TG_EXIT_OK;
}

static int sign_option(struct sign_options *o, int c, const char *bad)
{
    static const struct {
        int c;
        const char *claim;
    } claims[] = {{'i', "iss"},       {'d', "aud"},    {'s', "sub"},
                  {'l', "client_id"}, {'t', "tenant"}, {'p', "scope"}};

    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        if (claims[i].c == c) {
            return set_claim(o, claims[i].claim, optarg);
        }
    }
    switch (c) {
    case 'k':
        o->key = optarg;
        return TG_EXIT_OK;
    case 'n':
        o->kid = optarg;
        return TG_EXIT_OK;
    case 'y':
        o->typ = optarg;
        return TG_EXIT_OK;
    case 'a':
        return parse_alg(optarg, &o->alg);
    case 'e':
        return set_ttl(o, optarg);
    case 'c':
        return set_free_claim(o, optarg);
    default:
        return tg_cmd_usage_error(COMMAND, "`%s` is not understood", bad);
    }
}

static int sign_arguments(int argc, char **argv, struct sign_options *o)
{
    static const struct option options[] = {
        {"key", required_argument, NULL, 'k'},
        {"kid", required_argument, NULL, 'n'},
        {"alg", required_argument, NULL, 'a'},
        {"iss", required_argument, NULL, 'i'},
        {"aud", required_argument, NULL, 'd'},
        {"sub", required_argument, NULL, 's'},
        {"client", required_argument, NULL, 'l'},
        {"tenant", required_argument, NULL, 't'},
        {"scope", required_argument, NULL, 'p'},
        {"ttl", required_argument, NULL, 'e'},
        {"typ", required_argument, NULL, 'y'},
        {"claim", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    static const char *const needed[] = {"iss", "aud", "sub"};
    int c;

    tg_cmd_getopt_reset();
    while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        int rc = sign_option(o, c, argv[optind - 1]);

        if (rc != TG_EXIT_OK) {
            return rc;
        }
    }
    if (optind < argc) {
        return tg_cmd_usage_error(COMMAND, "`%s` is not understood", argv[optind]);
    }
    if (o->key == NULL) {
        return tg_cmd_usage_error(COMMAND, "--key FILE is missing");
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (json_object_get(o->claims, needed[i]) == NULL) {
            return tg_cmd_usage_error(COMMAND, "--%s is missing", needed[i]);
        }
    }
    return TG_EXIT_OK;
}

static EVP_PKEY *read_key(const char *path, struct tg_error *err)
{
    struct tg_error why = {""};
    char *pem = tg_file_read(path, err);
    EVP_PKEY *key = pem != NULL ? tg_key_from_pem(pem, &why) : NULL;

    if (pem != NULL && key == NULL) {
        tg_error_set(err, "%s: %s", path, why.text);
    }
    tg_file_free(pem);
    return key;
}

/* iat, exp and a jti, so that two tokens of one second differ (RFC 9068 section 2.2). */
static int set_times(struct sign_options *o, struct tg_error *err)
{
    int64_t now = (int64_t)time(NULL);
    char jti[32];

    snprintf(jti, sizeof(jti), "%" PRId64 "-%ld", now, (long)getpid());
    if (json_object_set_new(o->claims, "iat", json_integer(now)) != 0 ||
        json_object_set_new(o->claims, "exp", json_integer(now + o->ttl_s)) != 0 ||
        json_object_set_new(o->claims, "jti", json_string(jti)) != 0) {
        return tg_error_set(err, "out of memory");
    }
    return 0;
}

/* The token and nothing else; a line end only for a person at a terminal. */
static int print_token(struct sign_options *o, EVP_PKEY *key, struct tg_error *err)
{
    json_t *header = json_pack("{s:s, s:s}", "alg", tg_alg_name(tg_key_alg(key)), "typ", o->typ);
    char *token = NULL;

    if (header == NULL ||
        (o->kid != NULL && json_object_set_new(header, "kid", json_string(o->kid)) != 0)) {
        tg_error_set(err, "--kid and --typ must be UTF-8 text");
    } else if (set_times(o, err) == 0) {
        token = tg_token_sign(key, header, o->claims, err);
    }
    json_decref(header);
    if (token == NULL) {
        return -1;
    }
    printf("%s%s", token, isatty(STDOUT_FILENO) ? "\n" : "");
    free(token);
    return 0;
}

static int sign_and_print(struct sign_options *o, struct tg_error *err)
{
    EVP_PKEY *key = read_key(o->key, err);
    enum tg_alg alg = key != NULL ? tg_key_alg(key) : TG_ALG_NONE;
    int rc = -1;

    if (key != NULL && (alg == TG_ALG_NONE || (o->alg != TG_ALG_NONE && o->alg != alg))) {
        tg_error_set(err,
                     "%s: this key signs %s; accepted: RSA of %d to %d bits (RS256), P-256 "
                     "(ES256), Ed25519 (EdDSA)",
                     o->key, alg != TG_ALG_NONE ? tg_alg_name(alg) : "nothing known here",
                     TG_RSA_MIN_BITS, TG_RSA_MAX_BITS);
    } else if (key != NULL) {
        rc = print_token(o, key, err);
    }
    EVP_PKEY_free(key);
    return rc;
}

static int sign(int argc, char **argv)
{
    struct sign_options o = {.typ = "at+jwt", .ttl_s = TTL_DEFAULT_S, .claims = json_object()};
    struct tg_error err = {""};
    int rc;

    if (o.claims == NULL) {
        return tg_cmd_failed(COMMAND, "out of memory");
    }
    rc = sign_arguments(argc, argv, &o);
    if (rc == TG_EXIT_OK && sign_and_print(&o, &err) != 0) {
        rc = tg_cmd_failed(COMMAND, "%s", err.text);
    }
    json_decref(o.claims);
    return rc;
}

int tg_cmd_token(int argc, char **argv)
{
    if (argc < 2) {
        return tg_cmd_usage_error(COMMAND, "say `keys` or `sign`");
    }
    if (strcmp(argv[1], "keys") == 0) {
        return keys(argc - 1, argv + 1);
    }
    if (strcmp(argv[1], "sign") == 0) {
        return sign(argc - 1, argv + 1);
    }
    return tg_cmd_usage_error(COMMAND, "there is no `%s`; accepted: keys, sign", argv[1]);
}
