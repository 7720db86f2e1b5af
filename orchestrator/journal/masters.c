/* Reading the master data that came by events: rows are written once and never change. */
#include "journal/internal.h"

int tg_reader_master(struct tg_reader *r, int64_t after, size_t limit, tg_master_fn fn, void *arg,
                     struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_MASTER,
        "SELECT id, object, tenant, kind, name, source, version, from_day, attributes, refused "
        "FROM master WHERE id > ?1 ORDER BY id LIMIT ?2",
        err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, after);
    tg_bind_i64(&b, limit > TG_JOURNAL_PAGE_MAX ? TG_JOURNAL_PAGE_MAX : (int64_t)limit);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        const struct tg_row_master row = {.id = sqlite3_column_int64(s, 0),
                                          .object = sqlite3_column_int64(s, 1),
                                          .tenant = tg_column_text(s, 2),
                                          .kind = tg_column_text(s, 3),
                                          .name = tg_column_text(s, 4),
                                          .source = tg_column_text(s, 5),
                                          .version = sqlite3_column_int64(s, 6),
                                          .from_day = tg_column_text(s, 7),
                                          .attributes = tg_column_text(s, 8),
                                          .refused = tg_column_text(s, 9)};

        if (!fn(arg, &row)) {
            break;
        }
        result = sqlite3_step(s);
    }
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        (void)tg_reader_failed(r, "master data", err);
        (void)sqlite3_reset(s);
        return -1;
    }
    (void)sqlite3_reset(s);
    return 0;
}
