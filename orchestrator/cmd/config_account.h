/*
 * config_account.h: `account`: destinations, of one tenant or of several, that are one account at
 * one system and so share what it can take.
 *
 * Ownership: as in config.h.
 */
#ifndef TG_CMD_CONFIG_ACCOUNT_H
#define TG_CMD_CONFIG_ACCOUNT_H

#include "core/config.h"
#include "master/yaml.h"

/*
 * After all destinations were read: numbers the accounts, and gives each destination of one the
 * concurrency and rate that any of them states. 0, or -1 when two of them state different ones.
 */
int tg_config_accounts(const struct tg_yaml *doc, const struct tg_yaml_node *tenants,
                       struct tg_config *c, struct tg_error *err);

#endif
