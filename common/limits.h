/*
 * limits.h: every maximum of the product, by name, in one place.
 *
 * A buffer, queue, cache, retry or loop that has no entry here has a bug. Units are in the names.
 * Both halves include this file; a value that both must agree on says so.
 */
#ifndef TG_COMMON_LIMITS_H
#define TG_COMMON_LIMITS_H

#include <stdint.h>

/* --- the contract between edge and orchestrator (both halves compare it at the handshake) --- */
#define TG_CONTRACT_VERSION 1
#define TG_SHARD_HASH_NAME "fnv1a64"
#define TG_SHARD_COUNT_DEFAULT 16
#define TG_SHARD_COUNT_MAX 100 /* two digits in the hash tag {s07} */

/* --- text --- */
#define TG_ERROR_MAX_BYTES 512
#define TG_DURATION_MAX_MS (INT64_C(3650) * 86400000) /* a span of time in the configuration */
#define TG_PREFIX_MAX_BYTES 32                        /* the `tg` of tg:{s07}:events */
#define TG_KEY_MAX_BYTES 128                          /* a whole Redis key */
#define TG_TENANT_MAX_BYTES 64                        /* [A-Za-z0-9._-] */
#define TG_SOURCE_NAME_MAX_BYTES 64                   /* [A-Za-z0-9._-] */
#define TG_CLIENT_MAX_BYTES 255
#define TG_EVENT_ID_MAX_BYTES 48 /* s07-18446744073709551615-18446744073709551615 and NUL */
#define TG_CORRELATION_ID_MAX_BYTES 128
#define TG_TRACEPARENT_BYTES 55   /* W3C Trace Context, version 00 */
#define TG_IDEM_KEY_MAX_BYTES 255 /* design section 3 */
#define TG_IDEM_DIGEST_BYTES 16
#define TG_SHA256_BYTES 32
#define TG_POSTING_KEY_BYTES 16 /* 32 hex digits on the wire */

/* --- tokens --- */
#define TG_TOKEN_MAX_BYTES 8192
#define TG_TOKEN_JSON_DEPTH_MAX 16
#define TG_JWKS_FILE_MAX_BYTES (256 * 1024)
#define TG_JWKS_KEYS_MAX 64
#define TG_RSA_MIN_BITS 2048
#define TG_RSA_MAX_BITS 8192
#define TG_AUDIENCES_MAX 8
#define TG_SCOPES_MAX 64 /* in one directive, and read of one token */
#define TG_SCOPE_MAX_BYTES 128
#define TG_SUBJECT_MAX_BYTES 255
#define TG_KID_MAX_BYTES 255
#define TG_JWT_KEY_TRIES_MAX 4 /* keys tried for a token without kid, or with a shared one */
#define TG_NUMERIC_DATE_MAX_S INT64_C(253402300799) /* end of year 9999 */

/* --- signatures --- */
#define TG_SECRETS_FILE_MAX_BYTES (16 * 1024 * 1024)
#define TG_SECRETS_PER_NAME_MAX 8 /* all valid at once: rotation */
#define TG_SECRET_LINES_MAX 200000
#define TG_SECRET_MIN_BYTES 24 /* Standard Webhooks: 24 to 64 bytes */
#define TG_SECRET_MAX_BYTES 64
#define TG_SECRET_TEXT_MIN_BYTES 16 /* of a secret that its sender shows as text: Jira, GitHub */
#define TG_SIGNATURES_PER_HEADER_MAX 16
#define TG_SIGNATURE_HEADER_MAX_BYTES 4096
#define TG_WEBHOOK_ID_MAX_BYTES 255

/* --- events --- */
#define TG_BODY_MAX_BYTES                                                                          \
    (1024 * 1024) /* hard ceiling at the edge; client_max_body_size is lower */
#define TG_EVENT_JSON_DEPTH_MAX 32
#define TG_CE_ATTRIBUTE_MAX_BYTES 255 /* id, source, type, subject, time, dataschema */
#define TG_STREAM_FIELDS 15

/* --- edge: rates --- */
#define TG_RATES_MAX 8 /* tally_rate lines that apply to one request */
#define TG_RATE_NAME_MAX_BYTES 64
#define TG_RATE_PER_SECOND_MAX 1000000
#define TG_RATE_BURST_MAX 1000000
#define TG_RATE_COST_MAX 1000000
#define TG_RATE_WINDOW_MAX_S INT64_C(315360000) /* 10 years: times stay exact in a Lua number */

/* --- orchestrator: log --- */
#define TG_LOG_MESSAGE_MAX_BYTES 2048 /* longer messages are cut */

/* --- orchestrator: intake --- */
#define TG_INTAKE_BATCH_MAX 256         /* stream entries decided and journalled together */
#define TG_EVENT_ID_REUSES_MAX 999      /* other events under one used event id */
#define TG_EVENT_ID_STORED_MAX_BYTES 56 /* TG_EVENT_ID_MAX_BYTES and "-r999" */
#define TG_INTAKE_BLOCK_MS 1000
/* Entries of one shard in one read; a reply is held whole, so many come only after a read in which
 * each was small. */
#define TG_INTAKE_READ_COUNT_MAX 64
#define TG_INTAKE_READ_COUNT_SMALL_MAX TG_INTAKE_BATCH_MAX
#define TG_INTAKE_SMALL_BYTES 16384
#define TG_INTAKE_CLAIM_IDLE_MS 30000
#define TG_INTAKE_TRIM_ACKS 1000
#define TG_INTAKE_TRIM_MS 10000
#define TG_INTAKE_KEEP_TRIM_MS 60000 /* with redis.keep: time alone makes entries old enough */
#define TG_REDIS_KEEP_MAX_MS (INT64_C(30) * 86400000)
#define TG_INTAKE_GAUGE_MS 5000
#define TG_INTAKE_ERROR_WAIT_MS 1000  /* after an error of Redis that a new try may cure */
#define TG_INTAKE_EXCEPTIONS_MAX 1000 /* open ones of one object, closed by a later version */
#define TG_AGAIN_MAX 1024             /* events waiting to be judged again at a person's wish */
#define TG_AGAIN_WALKS_MAX 64         /* names that arrived and whose holds are not looked at yet */
#define TG_AGAIN_TURN_MAX 64          /* events judged again in one turn of the loop */
#define TG_AGAIN_DUE_MS 1000          /* between two looks at versions held for too long */
#define TG_REDIS_CONNECT_MS 1000
#define TG_REDIS_REPLY_MS 10000 /* a link without an answer for so long is dropped */
#define TG_REDIS_BACKOFF_BASE_MS 50
#define TG_REDIS_BACKOFF_CAP_MS 3000
#define TG_REDIS_PENDING_MAX 4096 /* commands of one link without an answer */
#define TG_REDIS_PASSWORD_MAX_BYTES 512
#define TG_TENANTS_MAX 10000
#define TG_SOURCES_PER_TENANT_MAX 64
#define TG_CLIENTS_PER_SOURCE_MAX 64
#define TG_DESTINATIONS_PER_TENANT_MAX 64
#define TG_POSTINGS_PER_OBJECT_MAX 16
#define TG_VIOLATIONS_MAX 64
#define TG_VIOLATION_MESSAGE_MAX_BYTES 1000
#define TG_WAITS_FOR_MAX_BYTES 320 /* "worker:" and what a source calls it */
#define TG_VALIDATE_ARRAY_MAX 500  /* POST /v1/time-entries/validate */

/* --- orchestrator: rules --- */
#define TG_LUA_MEMORY_MAX_BYTES (32 * 1024 * 1024)
#define TG_LUA_INSTRUCTIONS_MAX 2000000 /* one call of one rule */
#define TG_LUA_FILE_MAX_BYTES (1024 * 1024)
#define TG_RULE_FILES_MAX 512
#define TG_RULE_PATH_MAX_BYTES 512
#define TG_RE_MATCH_LIMIT 100000
#define TG_RE_DEPTH_LIMIT 1000
#define TG_RE_PATTERN_MAX_BYTES 1024
#define TG_RE_SUBJECT_MAX_BYTES 65536
#define TG_LUA_STRING_MAX_BYTES (1024 * 1024)
#define TG_LUA_BLOCK_MAX_BYTES                                                                     \
    (2 * 1024 * 1024)                 /* one allocation: bounds what one step can cost             \
                                       */
#define TG_LUA_CPU_MAX_MS 1000        /* one call; the instruction budget comes first */
#define TG_LUA_HOOK_INSTRUCTIONS 1000 /* between two looks at the budget */
#define TG_LUA_MESSAGE_MAX_BYTES 400  /* of a rule's own error */
#define TG_LUA_JSON_NODES_MAX 20000   /* values in one document to or from a rule */
#define TG_LUA_JSON_TEXT_MAX_BYTES (2 * 1024 * 1024) /* texts and names of one from a rule */
#define TG_LUA_JSON_CLOCK_NODES 64 /* values read between two looks at the clock */
#define TG_RE_HEAP_LIMIT_KIB 1024
#define TG_RE_CACHE_MAX 64    /* compiled patterns of one state */
#define TG_RE_CAPTURES_MAX 32 /* the whole match included */
#define TG_FIXTURE_MAX_BYTES (256 * 1024)
#define TG_FIXTURES_PER_RULE_MAX 1000
#define TG_SCHEMA_FILE_MAX_BYTES (1024 * 1024)
#define TG_SCHEMA_FILES_MAX 256
#define TG_SCHEMA_DEPTH_MAX 16
#define TG_SCHEMA_STRING_MAX_BYTES 4096 /* under `pattern`: std::regex recurses on the subject */
#define TG_SCHEMA_POINTER_MAX_BYTES 512

/* --- orchestrator: master data --- */
#define TG_MASTER_FILE_MAX_BYTES (64 * 1024 * 1024)
#define TG_YAML_FILE_MAX_BYTES (4 * 1024 * 1024)
#define TG_YAML_DEPTH_MAX 32
#define TG_YAML_KEYS_MAX 1024           /* of one mapping */
#define TG_MASTER_POINTER_MAX_BYTES 256 /* place in the file, for messages */
#define TG_MASTER_VERSION_MAX_BYTES 96
#define TG_CALENDAR_SPANS_MAX 4096 /* periods, and pay cycles, of one tenant */
#define TG_MASTER_DAYS_MAX 4000    /* on which one thing changes by events */
#define TG_MAP_ROWS_MAX 50000      /* of one list of a project map */
#define TG_MAINTENANCE_MAX 256     /* windows of one calendar */
#define TG_CODE_MAX_BYTES 64       /* a code of conf/catalogue.yaml */

/* --- orchestrator: journal --- */
#define TG_JOURNAL_ID_BYTES 32    /* hex digits */
#define TG_JOURNAL_QUEUE_MAX 4096 /* batches waiting for the journal thread */
#define TG_JOURNAL_GROUP_MAX 512  /* batches in one commit */
#define TG_JOURNAL_BATCH_OPS_MAX 16384
#define TG_JOURNAL_PAGE_MAX 1000     /* rows of one list query */
#define TG_QUERY_ROWS_MAX 5000       /* rows one page of a list looks at, whatever it finds */
#define TG_QUERY_SLACK_MS 3600000    /* a clock that was set back by less hides no row of a list */
#define TG_RECONCILE_ROWS_MAX 500000 /* postings of one group summed for one answer */
#define TG_KPI_RANGE_MAX_MS (INT64_C(92) * 86400000)
#define TG_KPI_RANGE_DEFAULT_MS (INT64_C(7) * 86400000)
#define TG_KPI_ROWS_MAX 100000          /* audit rows, and events, looked at for one answer */
#define TG_KPI_COMMAND_ROWS_MAX 5000000 /* the same for a command, which has the time */
#define TG_KPI_PERIODS_MAX 64           /* reconciled for one answer */
#define TG_KPI_CODES_MAX 256            /* told apart; the others are one */
#define TG_KPI_OTHER_CODES "(others)"
#define TG_AUDIT_DETAIL_MAX_BYTES 4096
#define TG_REASON_MAX_BYTES 200            /* what a person says of what they do */
#define TG_JOURNAL_CACHE_KIB 16384         /* pages the writer keeps in memory */
#define TG_JOURNAL_WAL_PAGES 4096          /* copy the WAL into the file after so many */
#define TG_JOURNAL_WAL_KEEP_BYTES 67108864 /* a longer WAL file is cut when it is reused */
#define TG_JOURNAL_BUSY_MS 5000            /* a reader waits so long for a lock */
#define TG_JOURNAL_WRITER_BUSY_MS 1000     /* the writer; then the group is tried again */
#define TG_JOURNAL_RETRY_MIN_MS 50         /* after a failed commit; doubles */
#define TG_JOURNAL_RETRY_MAX_MS 5000
#define TG_JOURNAL_DESTINATIONS_MAX (TG_TENANTS_MAX * TG_DESTINATIONS_PER_TENANT_MAX)
#define TG_JOURNAL_ROOM_WAIT_MS 5000 /* a new destination waits so long for a full queue */
#define TG_JOURNAL_CHUNK_MIN_BYTES 1024
#define TG_JOURNAL_CHUNK_MAX_BYTES 65536
#define TG_CHECK_FINDINGS_MAX 100 /* told one by one; the rest is counted */
#define TG_CHECKPOINTS_MAX 100000 /* files of one directory */
#define TG_CHECKPOINT_FILE_MAX_BYTES 1024

/* --- orchestrator: dispatch --- */
#define TG_ENGINE_DESTINATIONS_MAX 640000 /* TG_TENANTS_MAX times those of one */
#define TG_OPEN_POSTINGS_MAX 8192         /* postings held in memory over all destinations */
#define TG_DEST_WINDOW_MAX 1024           /* of one destination */
#define TG_DEST_CONCURRENCY_MAX 256
#define TG_ACTIONS_MAX 4096 /* one step of the engine */
#define TG_RETRY_ATTEMPTS_MAX 12
#define TG_MARKS_TOGETHER_MAX 8 /* marks of one posting in one commit */
#define TG_IDSET_MAX 65536      /* postings with marks of others than the engine under way */
#define TG_EFFECTS_MAX 64       /* postings of older versions that one correction looks at */
#define TG_LOAD_BEHIND_MAX 1024 /* released ones waiting for room; more are found by a new walk */
#define TG_HOLDS_TURN_MAX 256   /* holds looked at in one turn of the loop */
#define TG_HOLDS_ENDED_MAX 4096 /* ends of postings not yet looked at; more are found by a walk */
#define TG_HOLDS_DUE_MS 1000    /* between two looks at holds whose time is up */
#define TG_PEOPLE_MAX 1024      /* what people asked for about exceptions, not yet done */
#define TG_HOLD_TIMEOUT_MS (INT64_C(24) * 3600 * 1000) /* where the tenant names none */
#define TG_RETRY_BASE_MS 1000
#define TG_RETRY_CAP_MS (15 * 60 * 1000)
#define TG_RETRY_AFTER_MAX_MS (INT64_C(7) * 24 * 3600 * 1000) /* a longer one is read as this */
#define TG_DOWN_BACKOFF_MAX                                                                        \
    6 /* steps the wait after DOWN doubles: 32 s; the breaker does the rest */
#define TG_STUCK_BACKOFF_MAX 10 /* the same after STUCK: 8.5 min; MENDED comes before */
#define TG_LOOKUP_ATTEMPTS_MAX 5
#define TG_BREAKER_FAILURES 5
#define TG_BREAKER_OPEN_MS 10000
#define TG_CONNECT_REF_MAX_BYTES 128 /* the destination's own reference of a posting */
#define TG_CONNECT_DETAIL_MAX_BYTES 256
#define TG_FILE_LINE_MAX_BYTES 2048
#define TG_FILE_BATCH_MAX 256
#define TG_FILE_COLUMNS_MAX 24
#define TG_FILE_BOOKS_OPEN_MAX 8
#define TG_FILE_LINES_MAX 4000000 /* of one period's file */
#define TG_FILE_PERIODS_MAX 4096  /* files of one directory */
#define TG_LEDGER_ENTRY_MAX_BYTES 16384
#define TG_FILE_MEND_MIN_MS 1000 /* between tries to write a stale ledger or totals; doubles */
#define TG_FILE_MEND_MAX_MS 30000
#define TG_TOTALS_FILE_MAX_BYTES (64 * 1024 * 1024)

/* --- orchestrator: HTTP destinations --- */
#define TG_HTTP_URL_MAX_BYTES 4096           /* base, path and query of one request, with NUL */
#define TG_HTTP_VALUE_MAX_BYTES 8192         /* of one header we send */
#define TG_HTTP_HEADERS_MAX 64               /* headers we send, and keep of an answer */
#define TG_HTTP_HEADER_BYTES_MAX 65536       /* all headers of one answer; more cuts it */
#define TG_HTTP_BODY_MAX_BYTES (1024 * 1024) /* of an answer; more cuts it */
#define TG_HTTP_CALLS_MAX 1024               /* requests out at once, over all destinations */
#define TG_HTTP_SEND_BUFFER_BYTES 16384 /* libcurl makes one for each request; it takes no less */
#define TG_HTTP_IDLE_CONNECTIONS_MAX 256
#define TG_HTTP_CONNECTION_LIFE_S 300   /* then a new one, with what the certificate files hold */
#define TG_HTTP_CONNECT_MS 10000        /* resolve, connect and TLS */
#define TG_HTTP_ALLOW_MAX 64            /* entries of one destination's `allow` */
#define TG_SECRET_FILE_MAX_BYTES 4096   /* the first line of a password, key or token file */
#define TG_OAUTH_LIFE_DEFAULT_MS 300000 /* of a token that says no expires_in */
#define TG_OAUTH_LIFE_MAX_MS (INT64_C(24) * 3600 * 1000)
#define TG_AUTH_RENEW_MS                                                                           \
    60000 /* so long before its end, or a fifth of its life, a token is renewed */
#define TG_AUTH_BACKOFF_MIN_MS 5000 /* after a log-in was refused; doubles: accounts get locked */
#define TG_AUTH_BACKOFF_MAX_MS 300000
#define TG_IDEMPOTENCY_MARGIN_MS 120000 /* two clocks, and the engine's longest step */
#define TG_SCRIPT_OPTIONS_MAX 64        /* entries of one destination's `options` */
#define TG_SCRIPT_OPTION_MAX_BYTES 1024
#define TG_SCRIPT_NAME_MAX_BYTES 128       /* of one prepared request */
#define TG_SCRIPT_ROUNDS_MAX 8             /* how often one posting may ask for prepared requests */
#define TG_SCRIPT_PREPARE_MAX 16           /* prepared requests of one round */
#define TG_SCRIPT_KNOWN_MAX 4096           /* learned values kept for one destination */
#define TG_SCRIPT_KNOWN_MS 600000          /* how long one is kept */
#define TG_SCRIPT_BODY_TEXT_MAX_BYTES 4096 /* of an answer that is not JSON, shown to a script */

/* --- orchestrator: alerts --- */
#define TG_MAIL_ADDRESS_MAX_BYTES 254
#define TG_MAIL_RECIPIENTS_MAX 32
#define TG_ALERT_ALLOW_MAX 64
#define TG_MAIL_CONNECT_MS 10000
#define TG_MAIL_TOTAL_MS 30000 /* a mail occupies a thread of the pool so long at most */
#define TG_ALERT_SECRET_FILE_MAX_BYTES 4096
#define TG_ALERT_TICK_MS 2000 /* between two looks */
#define TG_ALERT_THINGS_MAX 4096
#define TG_ALERT_OUTBOX_MAX 256   /* notices on their way; the others are decided again */
#define TG_ALERT_MAIL_NOTICES 50  /* in one mail */
#define TG_ALERT_ATTEMPTS_MAX 12  /* of one notice at one channel, with backoff: over an hour */
#define TG_ALERT_AUDIT_ROWS 20000 /* read at one look */
#define TG_ALERT_WEBHOOK_MS 10000 /* one request */

/* --- orchestrator: API --- */
#define TG_API_THREADS_MAX 32
#define TG_CONTROLS_MAX 64       /* commands of people that wait for the loop */
#define TG_CONTROL_WAIT_MS 10000 /* for the answer to one */
#define TG_API_CONNECTIONS_MAX 1024
#define TG_API_BODY_MAX_BYTES (1024 * 1024)
#define TG_API_TIMEOUT_S 30
#define TG_API_DISCARD_MAX_BYTES (8 * 1024 * 1024) /* read of a body to answer 413 */
#define TG_API_REDIS_TIMEOUT_MS 200
#define TG_API_METRICS_MAX_BYTES (1024 * 1024)
#define TG_METRICS_DESTINATIONS_MAX 1000 /* shown in /metrics one by one */
#define TG_API_BACKLOG 128
#define TG_API_STOP_MS 5000           /* a stop waits so long for answers in progress */
#define TG_API_OBJECTS_MAX 100        /* objects, and exceptions, shown of one event */
#define TG_API_ARGS_MAX 16            /* parameters of one query */
#define TG_OPS_PAGE_MAX 500           /* rows of one page of a list under /v1/ops */
#define TG_OPS_PAGE_DEFAULT 50        /* where the request names none */
#define TG_OPS_COUNT_MAX 10000        /* of one kind in the summary; more is told, not counted */
#define TG_REPLAY_ITEMS_MAX 10000     /* exceptions of one replay */
#define TG_REPLAY_IDS_MAX 1000        /* named one by one */
#define TG_REPLAY_PAGES_MAX 40        /* of TG_QUERY_ROWS_MAX open exceptions, looked at for one */
#define TG_REPLAY_SLICE 64            /* dealt with before its place is noted */
#define TG_REPLAYS_MAX 16             /* that go on at once, one after the other */
#define TG_REPLAY_REFUSALS_MAX 100    /* told one by one; the rest is counted */
#define TG_REPLAY_WAIT_MS 100         /* before a full queue is tried again */
#define TG_REPLAY_GROUPS_MAX 256      /* codes and destinations a dry run tells apart */
#define TG_CURSOR_PLACE_MAX_BYTES 384 /* how far a list came, inside its cursor */
#define TG_CURSOR_MAX_BYTES 560       /* its text */
#define TG_TRAIL_ROWS_MAX 1000        /* of one list in the whole story of an entry */
#define TG_LISTEN_PATH_MAX_BYTES 107  /* sockaddr_un without its NUL */
#define TG_REDIS_HOST_MAX_BYTES 255
#define TG_CMD_FILE_MAX_BYTES (256 * 1024) /* a key or key set given to a command */
#define TG_ASK_BODY_MAX_BYTES 4096         /* kept of an answer to a command's own question */
#define TG_ASK_PATH_MAX_BYTES 512
#define TG_STOP_DEADLINE_MS 20000 /* SIGTERM: finish what is in flight, then leave */

#endif
