/*
 * metrics.h: every counter and gauge of the orchestrator, once. /metrics prints this table, the
 * docs are checked against it. Values are atomics: any thread adds, API threads read.
 */
#ifndef TG_CORE_METRICS_H
#define TG_CORE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* X(enumerator, type, name, labels, help); equal names stand together */
#define TG_METRIC_TABLE(X)                                                                         \
    X(INTAKE_READ, "counter", "tallygate_intake_entries_total", "", "Stream entries read")         \
    X(EVENTS_ACCEPTED, "counter", "tallygate_events_total", "state=\"accepted\"",                  \
      "Events journalled, by state")                                                               \
    X(EVENTS_DUPLICATE, "counter", "tallygate_events_total", "state=\"duplicate\"",                \
      "Events journalled, by state")                                                               \
    X(EVENTS_EXCEPTION, "counter", "tallygate_events_total", "state=\"exception\"",                \
      "Events journalled, by state")                                                               \
    X(MASTER_CHANGES, "counter", "tallygate_master_changes_total", "",                             \
      "Changes of master data by events")                                                          \
    X(MASTER_REFUSED, "counter", "tallygate_master_refused_total", "",                             \
      "Attributes in them that another system owns")                                               \
    X(INTAKE_CLAIMED, "counter", "tallygate_intake_claimed_total", "",                             \
      "Entries taken over from a consumer that died")                                              \
    X(INTAKE_DATA_LOSS, "counter", "tallygate_intake_data_loss_total", "",                         \
      "Entries that Redis lost, or gave an event id in use: alarm")                                \
    X(REDIS_CONNECTED, "gauge", "tallygate_redis_connected", "", "1 when the intake link is up")   \
    X(STREAM_BACKLOG, "gauge", "tallygate_stream_backlog", "",                                     \
      "Entries not yet acknowledged, over all shards")                                             \
    X(JOURNAL_COMMITS, "counter", "tallygate_journal_commits_total", "", "Commits")                \
    X(JOURNAL_BATCHES, "counter", "tallygate_journal_batches_total", "", "Batches in commits")     \
    X(JOURNAL_FAILURES, "counter", "tallygate_journal_failures_total", "", "Commits that failed")  \
    X(POSTINGS_SENT, "counter", "tallygate_postings_sent_total", "", "Sends begun")                \
    X(POSTINGS_POSTED, "counter", "tallygate_postings_total", "outcome=\"posted\"",                \
      "Answers of destinations")                                                                   \
    X(POSTINGS_REJECTED, "counter", "tallygate_postings_total", "outcome=\"rejected\"",            \
      "Answers of destinations")                                                                   \
    X(POSTINGS_RETRY, "counter", "tallygate_postings_total", "outcome=\"retry\"",                  \
      "Answers of destinations")                                                                   \
    X(POSTINGS_IN_DOUBT, "counter", "tallygate_postings_total", "outcome=\"in_doubt\"",            \
      "Answers of destinations")                                                                   \
    X(EXCEPTIONS_OPENED, "counter", "tallygate_exceptions_opened_total", "", "Exceptions opened")  \
    X(EXCEPTIONS_OPEN, "gauge", "tallygate_exceptions_open", "",                                   \
      "Exceptions open or assigned, counted at the scrape")                                        \
    X(ALERTS_WEBHOOK, "counter", "tallygate_alerts_total", "channel=\"webhook\"",                  \
      "Notices delivered")                                                                         \
    X(ALERTS_SMTP, "counter", "tallygate_alerts_total", "channel=\"smtp\"", "Notices delivered")   \
    X(ALERT_FAILURES, "counter", "tallygate_alert_failures_total", "",                             \
      "Tries to deliver notices that failed")                                                      \
    X(API_REQUESTS, "counter", "tallygate_api_requests_total", "", "Requests to the API")          \
    X(API_VALIDATED, "counter", "tallygate_api_validated_total", "",                               \
      "Objects checked by a validate call")

#define TG_METRIC_ENUM(name, type, text, labels, help) TG_METRIC_##name,
enum tg_metric { TG_METRIC_TABLE(TG_METRIC_ENUM) TG_METRIC_COUNT };
#undef TG_METRIC_ENUM

/* One line a destination; the label's value is its id. X(field, type, name, labels, help) */
#define TG_GAUGE_TABLE(X)                                                                          \
    X(open, "gauge", "tallygate_destination_open", "destination=\"\"",                             \
      "Open postings held in memory, at most 1024")                                                \
    X(in_flight, "gauge", "tallygate_destination_in_flight", "destination=\"\"",                   \
      "Sends and look-ups without an answer yet")                                                  \
    X(retry, "gauge", "tallygate_destination_retry", "destination=\"\"",                           \
      "Postings that wait for another try")                                                        \
    X(in_doubt, "gauge", "tallygate_destination_in_doubt", "destination=\"\"",                     \
      "Postings of which nobody knows yet whether they landed")                                    \
    X(stuck, "gauge", "tallygate_destination_stuck", "destination=\"\"",                           \
      "Postings that wait for something there to be mended: a damaged file")                       \
    X(breaker, "gauge", "tallygate_destination_breaker", "destination=\"\"",                       \
      "0 closed, 1 half open, 2 open: it is down")                                                 \
    X(paused, "gauge", "tallygate_destination_paused", "destination=\"\"",                         \
      "1 while a person holds it")                                                                 \
    X(maintenance, "gauge", "tallygate_destination_maintenance", "destination=\"\"",               \
      "1 in a maintenance window of the calendar")                                                 \
    X(asked_to_wait, "gauge", "tallygate_destination_asked_to_wait", "destination=\"\"",           \
      "1 while it, or another of its account, asked for a pause (Retry-After)")

#define TG_GAUGE_FIELD(field, type, text, labels, help) uint64_t field;
struct tg_destination_gauges {
    TG_GAUGE_TABLE(TG_GAUGE_FIELD)
};
#undef TG_GAUGE_FIELD

/* Room for n destinations, none set; 0 ends it. 0, or -1: no memory. Only the first
 * TG_METRICS_DESTINATIONS_MAX are shown. */
int tg_metrics_destinations(size_t n);
/* id is borrowed until the next call of tg_metrics_destinations. Any thread. */
void tg_metrics_destination(size_t index, const char *id, const struct tg_destination_gauges *g);

void tg_metric_add(enum tg_metric m, uint64_t n);
void tg_metric_set(enum tg_metric m, uint64_t value);
uint64_t tg_metric_get(enum tg_metric m);
/* Prometheus text 0.0.4 of the table; length, or 0 when out is too small. */
size_t tg_metrics_write(char *out, size_t out_size);

#endif
