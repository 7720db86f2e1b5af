/* config_alerts.c: the keys of `alerts`, and what they must say together. */
#include "cmd/config_table.h"
#include "connect/http_text.h"
#include "connect/mail.h"
#include "core/config.h"
#include "master/yaml.h"

static const char *const switch_words[] = {"on", "off", NULL};
static const char *const mail_tls_words[] = {"required", "offered", "off", NULL};

#define SPAN "0, or a whole number and a unit: 500ms, 30s, 15m, 24h, 7d"
#define ALLOW_ACCEPTED                                                                             \
    "a list of 1 to " NUMBER_TEXT(TG_ALERT_ALLOW_MAX) " addresses, or prefixes as 10.1.0.0/16"
#define ALLOW_HELP "Addresses that are not public, or that are reached without TLS."

static int http_url_form(struct tg_str text)
{
    return tg_http_url_check(text, NULL);
}

static int mail_url_form(struct tg_str text)
{
    return tg_mail_url_check(text, NULL);
}

static int prefix_form(struct tg_str text)
{
    struct tg_prefix prefix;

    return tg_prefix_parse(text, &prefix, NULL);
}

static int mail_address_form(struct tg_str text)
{
    return tg_mail_is_address(text) ? 0 : -1;
}

static const struct tg_config_key alert_webhook_keys[] = {
    {.name = "url",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "https:// or http://, host and path (no user, password or query)",
     .help = "Gets one CloudEvent a notice by POST.",
     .offset = offsetof(struct tg_config_alerts, webhook.url),
     .max = TG_CONFIG_PATH_MAX_BYTES,
     .form = http_url_form},
    {.name = "secret_file",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "the path of a file with one whsec_ secret a line",
     .help = "Signs each request as Standard Webhooks say; every secret of it, for rotation.",
     .offset = offsetof(struct tg_config_alerts, webhook.secret_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "ca_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a PEM file",
     .help = "Certificates to trust instead of the system's.",
     .offset = offsetof(struct tg_config_alerts, webhook.ca_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "allow",
     .kind = TG_CONFIG_TEXTS,
     .accepted = ALLOW_ACCEPTED,
     .help = ALLOW_HELP,
     .offset = offsetof(struct tg_config_alerts, webhook.allow),
     .count_offset = offsetof(struct tg_config_alerts, webhook.allow_count),
     .min = 1,
     .max = TG_ALERT_ALLOW_MAX,
     .form = prefix_form},
};
static const struct tg_config_table alert_webhook_table = TABLE(alert_webhook_keys);

static const struct tg_config_key alert_smtp_keys[] = {
    {.name = "url",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "smtp://HOST[:PORT] or smtps://HOST[:PORT]",
     .help = "The mail server.",
     .offset = offsetof(struct tg_config_alerts, smtp.url),
     .max = TG_CONFIG_PATH_MAX_BYTES,
     .form = mail_url_form},
    {.name = "from",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "a mail address, local@domain",
     .help = "The sender.",
     .offset = offsetof(struct tg_config_alerts, smtp.from),
     .max = TG_MAIL_ADDRESS_MAX_BYTES,
     .form = mail_address_form},
    {.name = "to",
     .kind = TG_CONFIG_TEXTS,
     .required = true,
     .accepted = "a list of 1 to " NUMBER_TEXT(TG_MAIL_RECIPIENTS_MAX) " mail addresses",
     .help = "Who gets the mail.",
     .offset = offsetof(struct tg_config_alerts, smtp.to),
     .count_offset = offsetof(struct tg_config_alerts, smtp.to_count),
     .min = 1,
     .max = TG_MAIL_RECIPIENTS_MAX,
     .form = mail_address_form},
    {.name = "user",
     .kind = TG_CONFIG_TEXT,
     .accepted = "a user name; password_file is needed with it",
     .help = "Log-in at the mail server. Default: none.",
     .offset = offsetof(struct tg_config_alerts, smtp.user),
     .max = TG_MAIL_ADDRESS_MAX_BYTES},
    {.name = "password_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a file whose first line is the password",
     .help = "Read again for every mail.",
     .offset = offsetof(struct tg_config_alerts, smtp.password_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "tls",
     .kind = TG_CONFIG_WORD,
     .fallback = "required",
     .accepted = "required, offered or off",
     .help = "STARTTLS: needed, taken when offered, or not used. smtps:// is always TLS.",
     .offset = offsetof(struct tg_config_alerts, smtp.tls),
     .words = mail_tls_words},
    {.name = "ca_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a PEM file",
     .help = "Certificates to trust instead of the system's.",
     .offset = offsetof(struct tg_config_alerts, smtp.ca_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "allow",
     .kind = TG_CONFIG_TEXTS,
     .accepted = ALLOW_ACCEPTED,
     .help = ALLOW_HELP,
     .offset = offsetof(struct tg_config_alerts, smtp.allow),
     .count_offset = offsetof(struct tg_config_alerts, smtp.allow_count),
     .min = 1,
     .max = TG_ALERT_ALLOW_MAX,
     .form = prefix_form},
};
static const struct tg_config_table alert_smtp_table = TABLE(alert_smtp_keys);

static const struct tg_config_key alert_keys[] = {
    {.name = "name",
     .kind = TG_CONFIG_NAME,
     .accepted = "1 to 64 of A-Z a-z 0-9 . _ -",
     .help = "What this installation is called in notices. Default: the host's name.",
     .offset = offsetof(struct tg_config_alerts, name),
     .max = 64},
    {.name = "repeat",
     .kind = TG_CONFIG_TIME,
     .fallback = "4h",
     .accepted = SPAN "; 0: told once",
     .help = "What is still wrong is told again after so long.",
     .offset = offsetof(struct tg_config_alerts, repeat_ms),
     .max = TG_DURATION_MAX_MS},
    {.name = "quiet",
     .kind = TG_CONFIG_TIME,
     .fallback = "10m",
     .accepted = SPAN,
     .help = "At least so long between two notices of one thing; new cases are gathered.",
     .offset = offsetof(struct tg_config_alerts, quiet_ms),
     .max = TG_DURATION_MAX_MS},
    {.name = "settle",
     .kind = TG_CONFIG_TIME,
     .fallback = "2m",
     .accepted = SPAN,
     .help = "What is right again for so long is resolved.",
     .offset = offsetof(struct tg_config_alerts, settle_ms),
     .max = TG_DURATION_MAX_MS},
    {.name = "after",
     .kind = TG_CONFIG_TIME,
     .fallback = "30s",
     .accepted = SPAN,
     .help = "An open breaker, a lost Redis and a stuck journal are told when they last so long.",
     .offset = offsetof(struct tg_config_alerts, after_ms),
     .max = TG_DURATION_MAX_MS},
    {.name = "resolved",
     .kind = TG_CONFIG_WORD,
     .fallback = "on",
     .accepted = "on or off",
     .help = "Whether the end of what was told is told as well.",
     .offset = offsetof(struct tg_config_alerts, resolved),
     .words = switch_words},
    {.name = "exception_age",
     .kind = TG_CONFIG_TIME,
     .fallback = "24h",
     .accepted = SPAN "; 0: not watched",
     .help = "Exceptions that wait longer than this are told to be ageing.",
     .offset = offsetof(struct tg_config_alerts, exception_age_ms),
     .max = TG_DURATION_MAX_MS},
    {.name = "posting_age",
     .kind = TG_CONFIG_TIME,
     .fallback = "1h",
     .accepted = SPAN "; 0: not watched",
     .help = "Likewise the oldest posting that does not get through to its destination.",
     .offset = offsetof(struct tg_config_alerts, posting_age_ms),
     .max = TG_DURATION_MAX_MS},
    {.name = "backlog",
     .kind = TG_CONFIG_NUMBER,
     .fallback = "10000",
     .accepted = "a whole number from 0 to 1000000000; 0: not watched",
     .help = "More entries than this in the stream are too many.",
     .offset = offsetof(struct tg_config_alerts, backlog),
     .max = 1000000000},
    {.name = "webhook",
     .kind = TG_CONFIG_MAPPING,
     .accepted = "a mapping with url, secret_file, ca_file, allow",
     .help = "Notices by POST, signed.",
     .table = &alert_webhook_table},
    {.name = "smtp",
     .kind = TG_CONFIG_MAPPING,
     .accepted = "a mapping with url, from, to, user, password_file, tls, ca_file, allow",
     .help = "Notices by mail, those of one look in one mail.",
     .table = &alert_smtp_table},
};
const struct tg_config_table tg_config_alerts = TABLE(alert_keys);

/* ---- together ---- */

int tg_config_alerts_check(const struct tg_yaml *doc, const struct tg_yaml_node *n,
                           const struct tg_config_alerts *a, struct tg_error *err)
{
    const struct tg_yaml_node *smtp = tg_yaml_get(n, "smtp");

    if (a->webhook.url == NULL && a->smtp.url == NULL) {
        return tg_yaml_error(doc, n, err,
                             "`alerts` says whom to tell neither by webhook nor by smtp; accepted: "
                             "one of them, or both, or no `alerts` at all");
    }
    if (smtp != NULL && (a->smtp.user == NULL) != (a->smtp.password_file == NULL)) {
        return tg_yaml_error(doc, smtp, err,
                             "`alerts.smtp` has one of user and password_file; accepted: both, or "
                             "neither");
    }
    return 0;
}
