#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/codec.h"

/* An escaped byte takes up to six; the frame, time and unit need less than the rest. */
#define LINE_MAX_BYTES (6 * TG_LOG_MESSAGE_MAX_BYTES + 1024)
#define UNIT_MAX_BYTES 64

static atomic_int level_min = TG_LOG_INFO;

void tg_log_set_level(enum tg_log_level min)
{
    atomic_store(&level_min, (int)min);
}

static const char *level_name(enum tg_log_level level)
{
    switch (level) {
    case TG_LOG_DEBUG:
        return "debug";
    case TG_LOG_INFO:
        return "info";
    case TG_LOG_WARN:
        return "warn";
    case TG_LOG_ERROR:
        return "error";
    }
    return "error";
}

static int now_text(char out[TG_RFC3339_BYTES])
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return -1;
    }
    return tg_rfc3339_format((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, out,
                             TG_RFC3339_BYTES);
}

/* A log that cannot be written has nowhere to complain; the line is given up. */
static void write_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, data, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

void tg_log(enum tg_log_level level, const char *unit, const char *fmt, ...)
{
    char message[TG_LOG_MESSAGE_MAX_BYTES];
    char line[LINE_MAX_BYTES];
    char unit_text[6 * UNIT_MAX_BYTES + 1];
    char when[TG_RFC3339_BYTES] = "";
    struct tg_str unit_view = tg_str_of(unit);
    va_list args;
    int head;
    int n;

    if ((int)level < atomic_load(&level_min)) {
        return;
    }
    va_start(args, fmt);
    n = vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (n < 0 || now_text(when) != 0) {
        return;
    }
    unit_view.len = unit_view.len < UNIT_MAX_BYTES ? unit_view.len : UNIT_MAX_BYTES;
    n = tg_json_escape(unit_view, unit_text, sizeof(unit_text) - 1);
    unit_text[n > 0 ? n : 0] = '\0';
    head =
        snprintf(line, sizeof(line), "{\"ts\":\"%s\",\"level\":\"%s\",\"unit\":\"%s\",\"msg\":\"",
                 when, level_name(level), unit_text);
    if (head < 0 || (size_t)head >= sizeof(line)) {
        return;
    }
    /* Room for the closing "} and the newline is kept back. */
    n = tg_json_escape(tg_str_of(message), line + head, sizeof(line) - (size_t)head - 3);
    if (n < 0) {
        return;
    }
    line[head + n] = '"';
    line[head + n + 1] = '}';
    line[head + n + 2] = '\n';
    write_all(line, (size_t)head + (size_t)n + 3);
}
