#include "connect/connect.h"

#include <string.h>

#include "connect/file.h"
#include "connect/scripted.h"

static const struct tg_connector_ops *const connectors[] = {&tg_connector_file};

const struct tg_connector_ops *tg_connector_find(const char *name)
{
    for (size_t i = 0; i < sizeof(connectors) / sizeof(connectors[0]); i++) {
        if (strcmp(connectors[i]->name, name) == 0) {
            return connectors[i];
        }
    }
    return NULL;
}

const char *tg_connector_names(void)
{
    return "file";
}

const struct tg_connector_ops *
tg_connector_choose(const char *name, const struct tg_scripts *scripts, struct tg_error *err)
{
    const struct tg_connector_ops *ops = tg_connector_find(name);
    char names[TG_ERROR_MAX_BYTES / 2] = "";

    if (ops != NULL) {
        return ops;
    }
    if (scripts->ops != NULL) {
        if (scripts->ops->has(scripts->version, name, NULL)) {
            return &tg_connector_scripted;
        }
        scripts->ops->names(scripts->version, names, sizeof(names));
    }
    (void)tg_error_set(err, "connector `%.64s` is not known; accepted: %s%s%s", name,
                       tg_connector_names(), names[0] != '\0' ? ", " : "", names);
    return NULL;
}
