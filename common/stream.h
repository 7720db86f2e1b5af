/*
 * stream.h: what one stream entry holds. Part of the contract (TG_CONTRACT_VERSION).
 *
 * Field order is fixed as below; every field is present, empty when unknown. `received_at` is
 * milliseconds since the epoch by Redis' clock, set inside admit.lua. `body` is the request's
 * bytes as they came.
 */
#ifndef TG_COMMON_STREAM_H
#define TG_COMMON_STREAM_H

#include "common/str.h"

#define TG_STREAM_GROUP "orchestrator"

/* X(enumerator, field name, limit in bytes) */
#define TG_STREAM_FIELD_TABLE(X)                                                                   \
    X(ID, "id", TG_CE_ATTRIBUTE_MAX_BYTES)                                                         \
    X(TYPE, "type", TG_CE_ATTRIBUTE_MAX_BYTES)                                                     \
    X(SOURCE, "source", TG_CE_ATTRIBUTE_MAX_BYTES)                                                 \
    X(SUBJECT, "subject", TG_CE_ATTRIBUTE_MAX_BYTES)                                               \
    X(TENANT, "tenant", TG_TENANT_MAX_BYTES)                                                       \
    X(CLIENT, "client", TG_CLIENT_MAX_BYTES)                                                       \
    X(TIME, "time", TG_CE_ATTRIBUTE_MAX_BYTES)                                                     \
    X(RECEIVED_AT, "received_at", 20)                                                              \
    X(DATASCHEMA, "dataschema", TG_CE_ATTRIBUTE_MAX_BYTES)                                         \
    X(KEY, "key", TG_IDEM_KEY_MAX_BYTES)                                                           \
    X(CORRELATION_ID, "correlation_id", TG_CORRELATION_ID_MAX_BYTES)                               \
    X(TRACEPARENT, "traceparent", TG_TRACEPARENT_BYTES)                                            \
    X(BODY_SHA256, "body_sha256", 64)                                                              \
    X(CONTENT_TYPE, "content_type", TG_CE_ATTRIBUTE_MAX_BYTES)                                     \
    X(BODY, "body", TG_BODY_MAX_BYTES)

#define TG_STREAM_ENUM(name, text, max) TG_STREAM_##name,
enum tg_stream_field { TG_STREAM_FIELD_TABLE(TG_STREAM_ENUM) TG_STREAM_FIELD_COUNT };
#undef TG_STREAM_ENUM

const char *tg_stream_field_name(enum tg_stream_field f);
size_t tg_stream_field_max_bytes(enum tg_stream_field f);

/* Index of a field by name, or TG_STREAM_FIELD_COUNT when it is none of ours. */
enum tg_stream_field tg_stream_field_of(struct tg_str name);

#endif
