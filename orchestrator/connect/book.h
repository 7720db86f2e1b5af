/*
 * book.h: one append-only CSV file whose lines end with a posting key; it never holds a key twice.
 *
 * Invariants, kept over SIGKILL and over a disk that fails:
 *   B1  the file is its header line and whole record lines; a torn tail is cut when it is opened,
 *       before anything else happens to it.
 *   B2  every line the index knows is on disk (fsync returned 0): at open the file is fsynced
 * before the index is used, at commit the index is changed after the fsync. B3  a commit that
 * failed leaves the file as it was (cut back and fsynced), or the book is broken and answers
 * nothing until it is opened again. B4  a file that someone else changed (other length, moved away,
 * a broken line among good ones, a key twice) is never appended to.
 *
 * Ownership: the opener closes; the directory descriptor and the header outlive the book. One
 * thread at a time.
 */
#ifndef TG_CONNECT_BOOK_H
#define TG_CONNECT_BOOK_H

#include "connect/csv.h"

struct tg_book;

enum tg_book_result {
    TG_BOOK_DONE,    /* every line is on disk */
    TG_BOOK_UNDONE,  /* no line is there; nothing happened */
    TG_BOOK_UNKNOWN, /* some may be there; close it, open it again, look the keys up */
};

/* A good line found while opening, without its \n. 0, or -1 to give up (no memory). */
typedef int (*tg_book_line_fn)(void *arg, struct tg_str line, const struct tg_csv_record *record);

/*
 * Opens NAME in dirfd, or creates it with `header` (a line of column names, \n included; the last
 * column is the key). A cut tail is logged. NULL with err; *damaged says that the fault is this
 * file's (a stray line, a wrong header, a key twice, a link), not the directory's or the disk's.
 */
struct tg_book *tg_book_open(int dirfd, const char *name, const char *header, tg_book_line_fn fn,
                             void *arg, bool *damaged, struct tg_error *err);
void tg_book_close(struct tg_book *b);

/* Is the file in the directory still this one, with the length we left it at, and not broken? */
bool tg_book_is_current(const struct tg_book *b);

/* Line number (the header is line 1) of a key that is on disk; 0: it is not there. */
uint32_t tg_book_find(const struct tg_book *b, const unsigned char key[TG_POSTING_KEY_BYTES]);

/* Line number (>= 2) of a key waiting for the next commit; 0: it is not waiting. */
uint32_t tg_book_waiting(const struct tg_book *b, const unsigned char key[TG_POSTING_KEY_BYTES]);

/*
 * Puts a record (\n included) in the next commit; the key is neither on disk nor waiting. 0, or -1:
 * no memory, or TG_FILE_BATCH_MAX or TG_FILE_LINES_MAX reached.
 */
int tg_book_add(struct tg_book *b, struct tg_str line,
                const unsigned char key[TG_POSTING_KEY_BYTES]);

/* Writes what waits in one append, fsyncs. err says why not DONE. Afterwards nothing waits. */
enum tg_book_result tg_book_commit(struct tg_book *b, struct tg_error *err);

const char *tg_book_name(const struct tg_book *b);

#endif
