/*
 * log.h: the orchestrator's log: one line of JSON a message on standard error. Not for the edge.
 * {"ts":"...","level":"info","unit":"intake","msg":"..."}  Never a secret, never a payload.
 */
#ifndef TG_COMMON_LOG_H
#define TG_COMMON_LOG_H

enum tg_log_level { TG_LOG_DEBUG, TG_LOG_INFO, TG_LOG_WARN, TG_LOG_ERROR };

void tg_log_set_level(enum tg_log_level min);

/* unit: the folder or thing that speaks. The message: lower case, noun first, no full stop. */
void tg_log(enum tg_log_level level, const char *unit, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
