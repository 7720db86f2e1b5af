/*
 * yaml.h: YAML by libyaml, as a tree whose nodes know their line, so that every complaint about a
 * file can name it: "tallygate.yaml:12: unknown key `thread`; accepted: listen, threads".
 *
 * (libcyaml cannot describe mappings with free keys, such as tenants' sources, and names the line
 * before an unknown key: docs/dependencies.md.)
 *
 * Ownership: tg_yaml_load makes a document, tg_yaml_free ends it; nodes and views belong to it.
 * Aliases, tags, several documents, nesting over TG_YAML_DEPTH_MAX and duplicate keys are errors.
 */
#ifndef TG_MASTER_YAML_H
#define TG_MASTER_YAML_H

#include "common/rate.h"
#include "common/str.h"

struct tg_yaml;
struct tg_yaml_node;

enum tg_yaml_kind { TG_YAML_SCALAR, TG_YAML_SEQUENCE, TG_YAML_MAPPING };

/* Reads a file of at most TG_YAML_FILE_MAX_BYTES. NULL with err "FILE:LINE: ...". */
struct tg_yaml *tg_yaml_load(const char *path, struct tg_error *err);
void tg_yaml_free(struct tg_yaml *doc);
const struct tg_yaml_node *tg_yaml_root(const struct tg_yaml *doc);

enum tg_yaml_kind tg_yaml_kind(const struct tg_yaml_node *n);
unsigned tg_yaml_line(const struct tg_yaml_node *n);
struct tg_str tg_yaml_text(const struct tg_yaml_node *n); /* scalar; else empty */
size_t tg_yaml_count(const struct tg_yaml_node *n);       /* items or pairs */
const struct tg_yaml_node *tg_yaml_item(const struct tg_yaml_node *n, size_t i);
struct tg_str tg_yaml_key(const struct tg_yaml_node *n, size_t i);
unsigned tg_yaml_key_line(const struct tg_yaml_node *n, size_t i); /* 0: no such pair */
const struct tg_yaml_node *tg_yaml_value(const struct tg_yaml_node *n, size_t i);
const struct tg_yaml_node *tg_yaml_get(const struct tg_yaml_node *n, const char *key); /* or NULL */

/* Every key of a mapping is in `accepted` (NULL-ended); else -1, err names line, key, accepted. */
int tg_yaml_check_keys(const struct tg_yaml *doc, const struct tg_yaml_node *n,
                       const char *const *accepted, struct tg_error *err);

/* err = "FILE:LINE: message"; returns -1. */
int tg_yaml_error(const struct tg_yaml *doc, const struct tg_yaml_node *n, struct tg_error *err,
                  const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
