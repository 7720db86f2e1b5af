#include "connect/connect.h"

#include <string.h>

#include "connect/file.h"

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
