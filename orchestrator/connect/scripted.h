/*
 * scripted.h: the connector for every destination that speaks HTTP: a script of the bundle says
 * what is sent and what an answer means, this folder sends. The script is found by the connector's
 * name.
 */
#ifndef TG_CONNECT_SCRIPTED_H
#define TG_CONNECT_SCRIPTED_H

#include "connect/connect.h"

extern const struct tg_connector_ops tg_connector_scripted;

#endif
