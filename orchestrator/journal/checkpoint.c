#include "journal/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/codec.h"
#include "journal/internal.h"

#define PREFIX "checkpoint-"
#define SUFFIX ".json"
#define SIGNATURE_BYTES 64
#define SIGNATURE_TEXT_BYTES 96
#define HASH_TEXT_BYTES (2 * TG_SHA256_BYTES + 1)
#define SIGNED_MAX_BYTES 256
#define ITEMS_FIRST 64

/* What is signed. Length, or -1. */
static int signed_bytes(int64_t seq, const char *hash, const char *at, char out[SIGNED_MAX_BYTES])
{
    int n = snprintf(out, SIGNED_MAX_BYTES, "tallygate.checkpoint.v1\n%" PRId64 "\n%s\n%s\n", seq,
                     hash, at);

    return n > 0 && n < SIGNED_MAX_BYTES ? n : -1;
}

static EVP_PKEY *key_read(const char *pem, bool is_private, struct tg_error *err)
{
    const char *kind = is_private ? "private" : "public";
    BIO *bio = pem == NULL ? NULL : BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = NULL;

    if (bio != NULL) {
        key = is_private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)
                         : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    }
    BIO_free(bio);
    if (key != NULL && EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    if (key == NULL) {
        (void)tg_error_set(err, "checkpoint key is not an Ed25519 %s key in PEM", kind);
    }
    return key;
}

/* ---- reading ---- */

/* The number in checkpoint-SEQ.json; false for other names. */
static bool name_seq(const char *name, int64_t *seq)
{
    struct tg_str s = tg_str_of(name);
    const size_t prefix = sizeof(PREFIX) - 1;
    const size_t suffix = sizeof(SUFFIX) - 1;

    if (s.len <= prefix + suffix || memcmp(name, PREFIX, prefix) != 0 ||
        memcmp(name + s.len - suffix, SUFFIX, suffix) != 0) {
        return false;
    }
    s.data += prefix;
    s.len -= prefix + suffix;
    return tg_str_to_i64(s, seq);
}

/* Length of the file's text, or -1 with errno; a longer file is cut and will not parse. */
static ssize_t file_read(const char *path, char out[TG_CHECKPOINT_FILE_MAX_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        return -1;
    }
    n = read(fd, out, TG_CHECKPOINT_FILE_MAX_BYTES);
    (void)close(fd);
    return n;
}

static bool signature_holds(EVP_PKEY *key, int64_t seq, const char *hash, const char *at,
                            const char *signature)
{
    unsigned char raw[SIGNATURE_BYTES];
    char message[SIGNED_MAX_BYTES];
    int n = signed_bytes(seq, hash, at, message);
    EVP_MD_CTX *ctx;
    bool holds;

    if (n < 0 || tg_base64_decode(tg_str_of(signature), raw, sizeof(raw)) != (int)sizeof(raw)) {
        return false;
    }
    ctx = EVP_MD_CTX_new();
    holds = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
            EVP_DigestVerify(ctx, raw, sizeof(raw), (const unsigned char *)message, (size_t)n) == 1;
    EVP_MD_CTX_free(ctx);
    return holds;
}

static bool text_parse(const char *text, size_t len, EVP_PKEY *key, struct tg_checkpoint *out)
{
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const char *hash = NULL;
    const char *at = NULL;
    const char *signature = NULL;
    json_int_t seq = 0;
    bool good;

    good = root != NULL &&
           json_unpack_ex(root, NULL, JSON_STRICT, "{s:I,s:s,s:s,s:s}", "seq", &seq, "hash", &hash,
                          "at", &at, "signature", &signature) == 0 &&
           seq > 0 &&
           tg_hex_decode(tg_str_of(hash), out->hash, sizeof(out->hash)) == (int)sizeof(out->hash) &&
           signature_holds(key, seq, hash, at, signature);
    out->seq = seq;
    json_decref(root);
    return good;
}

static int checkpoint_add(struct tg_checkpoints *c, size_t *capacity,
                          const struct tg_checkpoint *item)
{
    if (c->count == *capacity) {
        size_t larger = *capacity == 0 ? ITEMS_FIRST : *capacity * 2;
        struct tg_checkpoint *items = realloc(c->items, larger * sizeof(*items));

        if (items == NULL) {
            return -1;
        }
        c->items = items;
        *capacity = larger;
    }
    c->items[c->count++] = *item;
    return 0;
}

static int one_load(struct tg_checkpoints *c, size_t *capacity, const char *dir, const char *name,
                    EVP_PKEY *key, struct tg_audit_report *out, struct tg_error *err)
{
    char path[PATH_MAX];
    char text[TG_CHECKPOINT_FILE_MAX_BYTES];
    struct tg_checkpoint item;
    int64_t seq = 0;
    ssize_t n;
    int length;

    if (!name_seq(name, &seq)) {
        return 0;
    }
    length = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        return tg_error_set(err, "checkpoint directory %.200s: path too long", dir);
    }
    n = file_read(path, text);
    if (n < 0) {
        return tg_error_set(err, "checkpoint %s: %s", path, strerror(errno));
    }
    if (!text_parse(text, (size_t)n, key, &item) || item.seq != seq) {
        out->bad_seq = seq == 0 ? -1 : seq;
        (void)snprintf(out->reason, sizeof(out->reason),
                       "checkpoint of row %" PRId64 " is not as it was signed with this key", seq);
        return 1;
    }
    if (c->count >= TG_CHECKPOINTS_MAX || checkpoint_add(c, capacity, &item) != 0) {
        return tg_error_set(err, "checkpoint directory %s: more than %d files, or out of memory",
                            dir, TG_CHECKPOINTS_MAX);
    }
    return 0;
}

static int by_seq(const void *a, const void *b)
{
    const struct tg_checkpoint *left = a;
    const struct tg_checkpoint *right = b;

    return (left->seq > right->seq) - (left->seq < right->seq);
}

int tg_checkpoints_load(struct tg_checkpoints *c, const char *dir, const char *public_key_pem,
                        struct tg_audit_report *out, struct tg_error *err)
{
    EVP_PKEY *key = key_read(public_key_pem, false, err);
    size_t capacity = 0;
    const struct dirent *entry;
    DIR *d;
    int result = 0;

    if (key == NULL) {
        return -1;
    }
    d = opendir(dir);
    if (d == NULL) {
        EVP_PKEY_free(key);
        return tg_error_set(err, "checkpoint directory %s: %s", dir, strerror(errno));
    }
    errno = 0;
    while (result == 0 && (entry = readdir(d)) != NULL) {
        result = one_load(c, &capacity, dir, entry->d_name, key, out, err);
        errno = 0;
    }
    if (result == 0 && errno != 0) {
        result = tg_error_set(err, "checkpoint directory %s: %s", dir, strerror(errno));
    }
    (void)closedir(d);
    EVP_PKEY_free(key);
    if (c->count > 1) {
        qsort(c->items, c->count, sizeof(*c->items), by_seq);
    }
    return result;
}

/* ---- setting aside ---- */

/* fsync of a file or directory by path. */
static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    int result;

    if (fd < 0) {
        return -1;
    }
    result = fsync(fd);
    (void)close(fd);
    return result;
}

static int move_one(const char *dir, const char *to, const char *name, struct tg_error *err)
{
    char from_path[PATH_MAX];
    char to_path[PATH_MAX];
    int n = snprintf(from_path, sizeof(from_path), "%s/%s", dir, name);
    int m = snprintf(to_path, sizeof(to_path), "%s/%s", to, name);

    if (n < 0 || m < 0 || (size_t)n >= sizeof(from_path) || (size_t)m >= sizeof(to_path)) {
        return tg_error_set(err, "checkpoint directory %.200s: path too long", dir);
    }
    return rename(from_path, to_path) == 0
               ? 0
               : tg_error_set(err, "checkpoint %s: %s", from_path, strerror(errno));
}

int tg_checkpoints_set_aside(const char *dir, int64_t after, const char *to, size_t *moved,
                             struct tg_error *err)
{
    const struct dirent *entry;
    DIR *d = opendir(dir);
    int64_t seq = 0;
    int result = 0;

    *moved = 0;
    if (d == NULL) {
        return tg_error_set(err, "checkpoint directory %s: %s", dir, strerror(errno));
    }
    if (mkdir(to, 0750) != 0 && errno != EEXIST) {
        result = tg_error_set(err, "checkpoint directory %s: %s", to, strerror(errno));
    }
    while (result == 0 && (entry = readdir(d)) != NULL) {
        if (name_seq(entry->d_name, &seq) && seq > after) {
            result = move_one(dir, to, entry->d_name, err);
            *moved += result == 0;
        }
    }
    (void)closedir(d);
    if (result == 0 && (sync_path(to, O_RDONLY | O_DIRECTORY) != 0 ||
                        sync_path(dir, O_RDONLY | O_DIRECTORY) != 0)) {
        result = tg_error_set(err, "checkpoint directory %s: %s", dir, strerror(errno));
    }
    return result;
}

/* ---- writing ---- */

/* The newest row. 0, 1: none, -1. */
static int newest(struct tg_reader *r, struct tg_checkpoint *out, struct tg_error *err)
{
    sqlite3_stmt *q = NULL;
    int result = sqlite3_prepare_v2(r->db, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1",
                                    -1, &q, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    if (result == SQLITE_ROW) {
        const void *blob = sqlite3_column_blob(q, 1);

        out->seq = sqlite3_column_int64(q, 0);
        if (blob != NULL && sqlite3_column_bytes(q, 1) == TG_SHA256_BYTES) {
            memcpy(out->hash, blob, TG_SHA256_BYTES);
        } else {
            result = SQLITE_CORRUPT;
        }
    }
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        (void)tg_reader_failed(r, "the newest audit row", err);
    }
    sqlite3_finalize(q);
    if (result == SQLITE_ROW) {
        return 0;
    }
    return result == SQLITE_DONE ? 1 : -1;
}

static bool sign(EVP_PKEY *key, const char *message, size_t len, char out[SIGNATURE_TEXT_BYTES])
{
    unsigned char raw[SIGNATURE_BYTES];
    size_t raw_len = sizeof(raw);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(ctx, raw, &raw_len, (const unsigned char *)message, len) == 1 &&
                raw_len == sizeof(raw) &&
                tg_base64_encode(raw, sizeof(raw), out, SIGNATURE_TEXT_BYTES) > 0;

    EVP_MD_CTX_free(ctx);
    return good;
}

/* The file's text. Length, or -1. */
static int compose(const struct tg_checkpoint *p, EVP_PKEY *key,
                   char out[TG_CHECKPOINT_FILE_MAX_BYTES])
{
    char hash[HASH_TEXT_BYTES];
    char at[TG_RFC3339_BYTES];
    char message[SIGNED_MAX_BYTES];
    char signature[SIGNATURE_TEXT_BYTES];
    struct timespec now;
    int n;

    tg_hex_encode(p->hash, sizeof(p->hash), hash);
    hash[sizeof(hash) - 1] = '\0';
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        tg_rfc3339_format((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, at, sizeof(at)) !=
            0) {
        return -1;
    }
    n = signed_bytes(p->seq, hash, at, message);
    if (n < 0 || !sign(key, message, (size_t)n, signature)) {
        return -1;
    }
    n = snprintf(out, TG_CHECKPOINT_FILE_MAX_BYTES,
                 "{\"seq\":%" PRId64 ",\"hash\":\"%s\",\"at\":\"%s\",\"signature\":\"%s\"}\n",
                 p->seq, hash, at, signature);
    return n > 0 && n < TG_CHECKPOINT_FILE_MAX_BYTES ? n : -1;
}

/* tmp, fsync, rename, fsync of the directory: whole or not there. */
static int file_write(const char *dir, int64_t seq, const char *text, size_t len,
                      struct tg_error *err)
{
    char path[PATH_MAX];
    char tmp[PATH_MAX];
    int fd;
    int n = snprintf(path, sizeof(path), "%s/" PREFIX "%" PRId64 SUFFIX, dir, seq);
    int m = snprintf(tmp, sizeof(tmp), "%s/" PREFIX "%" PRId64 ".tmp", dir, seq);
    ssize_t written;
    int result;

    if (n < 0 || m < 0 || (size_t)n >= sizeof(path) || (size_t)m >= sizeof(tmp)) {
        return tg_error_set(err, "checkpoint directory %.200s: path too long", dir);
    }
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        return tg_error_set(err, "checkpoint %s: %s", tmp, strerror(errno));
    }
    written = write(fd, text, len);
    result = written == (ssize_t)len && fsync(fd) == 0 ? 0 : -1;
    if (close(fd) != 0 || result != 0 || rename(tmp, path) != 0 ||
        sync_path(dir, O_RDONLY | O_DIRECTORY) != 0) {
        return tg_error_set(err, "checkpoint %s: %s", path, strerror(errno));
    }
    return 0;
}

int tg_audit_checkpoint(struct tg_reader *r, const char *dir, const char *private_key_pem,
                        struct tg_error *err)
{
    struct tg_checkpoint p;
    char text[TG_CHECKPOINT_FILE_MAX_BYTES];
    EVP_PKEY *key = key_read(private_key_pem, true, err);
    int result;
    int n;

    if (key == NULL) {
        return -1;
    }
    result = newest(r, &p, err);
    if (result == 0) {
        n = compose(&p, key, text);
        result = n < 0 ? tg_error_set(err, "checkpoint of row %" PRId64 " cannot be signed", p.seq)
                       : file_write(dir, p.seq, text, (size_t)n, err);
    }
    EVP_PKEY_free(key);
    return result;
}
