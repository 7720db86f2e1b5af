#include "cmd/out.h"

#include <stdlib.h>

#include "cmd/cmd.h"

int tg_out_borrowed(const char *name, const json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;

    if (text == NULL) {
        return tg_cmd_failed(name, "out of memory");
    }
    printf("%s\n", text);
    free(text);
    return TG_EXIT_OK;
}

int tg_out_json(const char *name, json_t *json)
{
    int rc = tg_out_borrowed(name, json);

    json_decref(json);
    return rc;
}

FILE *tg_out_last(bool json)
{
    return json ? stderr : stdout;
}
