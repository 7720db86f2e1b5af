/*
 * file.h: the connector that writes postings into files for people and programs to pick up by
 * copying (folder.h says which). dedupe = unique: a key is looked up in the file before it is
 * written, so a file never holds it twice. A reversal is a line of negated hours and amount that
 * names the key it takes back; nothing that was written is changed.
 *
 * Ownership: static.
 */
#ifndef TG_CONNECT_FILE_H
#define TG_CONNECT_FILE_H

#include "connect/connect.h"

extern const struct tg_connector_ops tg_connector_file;

#endif
