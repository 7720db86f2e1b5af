/*
 * schema.cc: JSON Schema by valijson, with three things added.
 *
 * - Words for people: valijson's sentences name its own classes, so breaches are said anew from the
 *   schema (its `type`, `enum`, `required`, `description`), each with a JSON pointer.
 * - `format: date` and `date-time` under properties and items are ours (real calendar days, RFC
 *   3339), since valijson builds a regular expression for each check.
 * - std::regex recurses on its subject: where a schema matches patterns, strings longer than
 *   TG_SCHEMA_STRING_MAX_BYTES are refused before any matching, whatever their place.
 */
/* gcc 12 with -fsanitize=address sees ghosts in its own <regex>, wherever it inlines it */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "rules/jansson_adapter.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

extern "C" {
#include "common/codec.h"
#include "common/log.h"
}

#include "rules/schema.h"

namespace
{

using Error = valijson::ValidationResults::Error;

struct JsonDelete {
    void operator()(json_t *j) const
    {
        json_decref(j);
    }
};
using JsonPtr = std::unique_ptr<json_t, JsonDelete>;

struct Entry {
    JsonPtr whole;    /* as in the file: for messages and formats */
    JsonPtr stripped; /* without our formats: what valijson reads */
    valijson::Schema schema;
    bool has_pattern = false;
};

struct Breaches {
    tg_schema_breach fn;
    void *arg;
    int count;

    void add(const std::string &pointer, const std::string &message)
    {
        count++;
        if (fn != nullptr) {
            fn(arg, pointer.c_str(), message.c_str());
        }
    }
};

/* RFC 6901, cut where no person reads on. */
std::string below(const std::string &pointer, const std::string &token)
{
    std::string out = pointer + "/";

    for (char c : token) {
        if (c == '~') {
            out += "~0";
        } else if (c == '/') {
            out += "~1";
        } else {
            out += c;
        }
    }
    if (out.size() > TG_SCHEMA_POINTER_MAX_BYTES) {
        size_t cut = TG_SCHEMA_POINTER_MAX_BYTES;

        while (cut > 0 && (static_cast<unsigned char>(out[cut]) & 0xc0) == 0x80) {
            cut--; /* never inside a UTF-8 character */
        }
        out.resize(cut);
    }
    return out;
}

std::string text_of(const json_t *v)
{
    return json_is_string(v) ? std::string(json_string_value(v), json_string_length(v))
                             : std::string();
}

const json_t *child(const json_t *schema, const std::string &token)
{
    const json_t *sub = json_object_get(json_object_get(schema, "properties"), token.c_str());

    if (sub == nullptr && token.find_first_not_of("0123456789") == std::string::npos) {
        sub = json_object_get(schema, "items");
    }
    return json_is_object(sub) ? sub : nullptr;
}

/* A fraction is rounded to 15 digits: what was written, where a double holds it. */
std::string dump(const json_t *v)
{
    char *dumped = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    std::string out = dumped != nullptr ? dumped : "";

    free(dumped);
    return out;
}

/* "a, b or c" of an array of JSON values. */
std::string list_of(const json_t *values, const char *last)
{
    std::string out;
    size_t n = json_array_size(values);

    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(values, i);

        if (i > 0) {
            out += i + 1 == n ? std::string(" ") + last + " " : std::string(", ");
        }
        out += "`" + (json_is_string(v) ? text_of(v) : dump(v)) + "`";
    }
    return out;
}

bool starts_with(const std::string &s, const char *prefix)
{
    return s.compare(0, strlen(prefix), prefix) == 0;
}

/* The word between the first pair of single quotes. */
std::string quoted(const std::string &s)
{
    size_t a = s.find('\''), b = s.rfind('\'');

    return a != std::string::npos && b > a ? s.substr(a + 1, b - a - 1) : std::string();
}

bool lists(const json_t *array, const std::string &word)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (text_of(json_array_get(array, i)) == word) {
            return true;
        }
    }
    return false;
}

/* oneOf made of {required: [one name]} only: "exactly one of `a`, `b` or `c`"; else empty. */
std::string exactly_one(const json_t *schema)
{
    const json_t *one_of = json_object_get(schema, "oneOf");
    JsonPtr names(json_array());

    for (size_t i = 0; i < json_array_size(one_of); i++) {
        const json_t *required = json_object_get(json_array_get(one_of, i), "required");

        if (json_array_size(required) != 1 ||
            json_array_append(names.get(), json_array_get(required, 0)) != 0) {
            return std::string();
        }
    }
    return json_array_size(names.get()) > 0 ? "exactly one of " + list_of(names.get(), "and")
                                            : std::string();
}

std::string expected(const json_t *schema)
{
    std::string description = text_of(json_object_get(schema, "description"));

    return description.empty() ? std::string() : "; expected: " + description;
}

/* The rest of valijson's sentences are plain enough: lower case, no full stop. */
std::string plain(std::string s)
{
    if (!s.empty() && s[0] >= 'A' && s[0] <= 'Z') {
        s[0] = static_cast<char>(s[0] - 'A' + 'a');
    }
    if (!s.empty() && s.back() == '.') {
        s.pop_back();
    }
    return s;
}

/* 5.000000 is 5, 0.500000 is 0.5. */
std::string no_zeros(std::string s)
{
    if (s.find('.') != std::string::npos) {
        s.erase(s.find_last_not_of('0') + 1);
        if (s.back() == '.') {
            s.pop_back();
        }
    }
    return s;
}

class Translator
{
  public:
    Translator(const Entry &entry, const json_t *doc, Breaches &out)
        : entry_(entry), doc_(doc), out_(out)
    {
    }

    void say(const Error &e)
    {
        locate(e);
        const std::string &d = e.description;

        if (starts_with(d, "Missing required property")) {
            missing(quoted(d));
        } else if (starts_with(d, "Object contains a property")) {
            unknown_keys(quoted(d));
        } else if (starts_with(d, "Value type not permitted")) {
            say_type();
        } else if (starts_with(d, "Failed to match regex")) {
            out_.add(pointer_, "does not have the required form" + expected(schema_));
        } else if (starts_with(d, "Failed to match against any enum")) {
            out_.add(pointer_, "must be " + list_of(json_object_get(schema_, "enum"), "or"));
        } else if (d.find("oneOf constraint") != std::string::npos ||
                   d.find("exactly one child schema") != std::string::npos) {
            say_one_of();
        } else if (!say_bound(d) && !is_summary(d)) {
            out_.add(pointer_, plain(d) + expected(schema_));
        }
    }

  private:
    /* Sentences that only repeat that something deeper failed. */
    static bool is_summary(const std::string &d)
    {
        return starts_with(d, "Failed to validate against schema associated with property") ||
               starts_with(d, "Failed to validate against additional properties") ||
               starts_with(d, "Failed to validate against child schema #") ||
               starts_with(d, "Failed to validate item #");
    }

    void locate(const Error &e)
    {
        pointer_.clear();
        schema_ = entry_.whole.get();
        value_ = doc_;
        for (size_t i = 1; i < e.context.size(); i++) {
            const std::string &raw = e.context[i];
            std::string token = raw.size() >= 2 ? raw.substr(1, raw.size() - 2) : raw;

            pointer_ = below(pointer_, token);
            schema_ = child(schema_, token);
            value_ = json_is_array(value_)
                         ? json_array_get(value_, strtoul(token.c_str(), nullptr, 10))
                         : json_object_get(value_, token.c_str());
        }
    }

    void missing(const std::string &name)
    {
        const json_t *one_of = json_object_get(schema_, "oneOf");

        /* a branch of oneOf misses it, not the object: say_one_of speaks for all branches */
        if (one_of != nullptr && !lists(json_object_get(schema_, "required"), name)) {
            return;
        }
        out_.add(below(pointer_, name), "is missing" + expected(child(schema_, name)));
    }

    void unknown_keys(const std::string &first)
    {
        const json_t *properties = json_object_get(schema_, "properties");
        const char *key;
        json_t *v;

        if (properties == nullptr || json_object_get(schema_, "patternProperties") != nullptr) {
            out_.add(below(pointer_, first), "is not known here");
            return;
        }
        json_object_foreach(const_cast<json_t *>(value_), key, v)
        {
            if (json_object_get(properties, key) == nullptr) {
                out_.add(below(pointer_, key), "is not known here; remove it");
            }
        }
    }

    void say_type()
    {
        const json_t *type = json_object_get(schema_, "type");
        std::string words = json_is_array(type) ? list_of(type, "or") : text_of(type);

        out_.add(pointer_,
                 (words.empty() ? std::string("has the wrong type") : "must be " + words) +
                     expected(schema_));
    }

    /* The number as the schema writes it: valijson prints every bound as a double. The schema at
     * hand lacks the bound when it is in a branch (allOf). False: d is not of a bound. */
    bool say_bound(const std::string &d)
    {
        static const struct {
            const char *sentence, *key, *words;
        } bounds[] = {
            {"Expected number less than or equal to ", "maximum", "must be at most "},
            {"Expected number less than ", "exclusiveMaximum", "must be less than "},
            {"Expected number greater than or equal to ", "minimum", "must be at least "},
            {"Expected number greater than ", "exclusiveMinimum", "must be more than "},
            {"Value should be a multiple of ", "multipleOf", "must be a multiple of "},
        };

        for (const auto &b : bounds) {
            const json_t *bound = json_object_get(schema_, b.key);

            if (starts_with(d, b.sentence)) {
                std::string number = json_is_number(bound)
                                         ? dump(bound)
                                         : no_zeros(plain(d.substr(strlen(b.sentence))));

                out_.add(pointer_, b.words + number + expected(schema_));
                return true;
            }
        }
        return false;
    }

    void say_one_of()
    {
        std::string names = exactly_one(schema_);

        if (!names.empty() && !json_is_object(value_)) {
            return; /* its type has been named already */
        }
        out_.add(pointer_, names.empty() ? "fits none, or more than one, of the accepted forms" +
                                               expected(schema_)
                                         : "must have " + names);
    }

    const Entry &entry_;
    const json_t *doc_;
    Breaches &out_;
    std::string pointer_;
    const json_t *schema_ = nullptr;
    const json_t *value_ = nullptr;
};

bool is_our_format(const json_t *schema)
{
    std::string f = text_of(json_object_get(schema, "format"));

    return f == "date" || f == "date-time";
}

/* Depth is the schema's, at most TG_SCHEMA_DEPTH_MAX (checked while loading). */
void strip_formats(json_t *schema, int depth)
{
    const char *key;
    json_t *sub;

    if (!json_is_object(schema)) {
        return;
    }
    if (depth > TG_SCHEMA_DEPTH_MAX) {
        valijson::throwRuntimeError("schema nested too deep");
    }
    if (is_our_format(schema)) {
        json_object_del(schema, "format");
    }
    strip_formats(json_object_get(schema, "items"), depth + 1);
    json_object_foreach(json_object_get(schema, "properties"), key, sub)
    {
        strip_formats(sub, depth + 1);
    }
}

void check_format(const json_t *schema, const json_t *value, const std::string &pointer,
                  Breaches &out)
{
    struct tg_str s = {reinterpret_cast<const unsigned char *>(json_string_value(value)),
                       json_string_length(value)};
    int32_t day;
    int64_t ms;

    if (!json_is_string(value) || !is_our_format(schema)) {
        return;
    }
    if (text_of(json_object_get(schema, "format")) == "date") {
        if (tg_date_parse(s, &day) != 0) {
            out.add(pointer, "must be a calendar day, YYYY-MM-DD");
        }
    } else if (tg_rfc3339_parse(s, &ms) != 0) {
        out.add(pointer, "must be a time like 2026-11-20T17:00:00Z (RFC 3339)");
    }
}

/* Follows the schema, so its depth is the schema's. */
void check_formats(const json_t *schema, const json_t *value, const std::string &pointer,
                   Breaches &out)
{
    const char *key;
    json_t *sub;

    check_format(schema, value, pointer, out);
    json_object_foreach(json_object_get(schema, "properties"), key, sub)
    {
        const json_t *v = json_object_get(value, key);

        if (v != nullptr) {
            check_formats(sub, v, below(pointer, key), out);
        }
    }
    const json_t *items = json_object_get(schema, "items");

    for (size_t i = 0; json_is_object(items) && i < json_array_size(value); i++) {
        check_formats(items, json_array_get(value, i), below(pointer, std::to_string(i)), out);
    }
}

struct Place {
    const json_t *value;
    std::string pointer;
    int depth;
};

/* Depth and string lengths, before anything that recurses on the document sees it. */
bool check_shape(const Entry &entry, const json_t *doc, Breaches &out)
{
    std::vector<Place> todo{{doc, "", 0}};
    int before = out.count;

    while (!todo.empty()) {
        Place p = std::move(todo.back());
        const char *key;
        json_t *v;
        size_t i;

        todo.pop_back();
        if (p.depth > TG_EVENT_JSON_DEPTH_MAX) {
            out.add(p.pointer,
                    "is nested deeper than " + std::to_string(TG_EVENT_JSON_DEPTH_MAX) + " levels");
            return false;
        }
        if (entry.has_pattern && json_string_length(p.value) > TG_SCHEMA_STRING_MAX_BYTES) {
            out.add(p.pointer,
                    "is longer than " + std::to_string(TG_SCHEMA_STRING_MAX_BYTES) + " bytes");
        }
        json_object_foreach(const_cast<json_t *>(p.value), key, v)
        {
            if (entry.has_pattern && strlen(key) > TG_SCHEMA_STRING_MAX_BYTES) {
                out.add(p.pointer, "has a member name longer than " +
                                       std::to_string(TG_SCHEMA_STRING_MAX_BYTES) + " bytes");
                return false;
            }
            todo.push_back({v, below(p.pointer, key), p.depth + 1});
        }
        json_array_foreach(const_cast<json_t *>(p.value), i, v)
        {
            todo.push_back({v, below(p.pointer, std::to_string(i)), p.depth + 1});
        }
    }
    return out.count == before;
}

valijson::Validator &validator()
{
    /* keeps compiled patterns; one a thread, since it has no lock */
    static thread_local valijson::Validator v;

    return v;
}

int check(const Entry &entry, const json_t *doc, Breaches &out)
{
    if (!check_shape(entry, doc, out)) {
        return out.count;
    }
    valijson::ValidationResults results;
    tallygate::JsonAdapter target(const_cast<json_t *>(doc));

    if (!validator().validate(entry.schema, target, &results)) {
        Translator translator(entry, doc, out);
        int before = out.count;

        for (const Error &e : results) {
            translator.say(e);
        }
        if (out.count == before) {
            out.add("", "does not fit its schema");
        }
    }
    check_formats(entry.whole.get(), doc, "", out);
    return out.count;
}

JsonPtr read_schema(const std::string &path)
{
    struct stat st;
    json_error_t problem;

    if (stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) ||
        st.st_size > TG_SCHEMA_FILE_MAX_BYTES) {
        valijson::throwRuntimeError("not a readable file of at most " +
                                    std::to_string(TG_SCHEMA_FILE_MAX_BYTES) + " bytes");
    }
    JsonPtr j(json_load_file(path.c_str(), JSON_REJECT_DUPLICATES, &problem));

    if (j == nullptr) {
        valijson::throwRuntimeError("line " + std::to_string(problem.line) + ": " + problem.text);
    }
    if (text_of(json_object_get(j.get(), "$schema")) != "http://json-schema.org/draft-07/schema#") {
        valijson::throwRuntimeError("`$schema` must be http://json-schema.org/draft-07/schema#");
    }
    return j;
}

std::unique_ptr<Entry> load_entry(const std::string &path)
{
    auto e = std::make_unique<Entry>();

    e->whole = read_schema(path);
    e->stripped.reset(json_deep_copy(e->whole.get()));
    if (e->stripped == nullptr) {
        throw std::bad_alloc();
    }
    strip_formats(e->stripped.get(), 0);
    char *text = json_dumps(e->stripped.get(), JSON_COMPACT);

    if (text == nullptr) {
        throw std::bad_alloc();
    }
    e->has_pattern = strstr(text, "\"pattern") != nullptr || strstr(text, "\"format\"") != nullptr;
    free(text);
    valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);

    parser.populateSchema(tallygate::JsonAdapter(e->stripped.get()), e->schema);
    return e;
}

std::vector<std::string> json_files(const std::string &dir, bool required)
{
    std::vector<std::string> names;
    std::unique_ptr<DIR, int (*)(DIR *)> d(opendir(dir.c_str()), closedir);

    if (d == nullptr) {
        if (required) {
            valijson::throwRuntimeError("directory cannot be read");
        }
        return names;
    }
    while (struct dirent *e = readdir(d.get())) {
        std::string name = e->d_name;

        if (name.size() > 5 && name[0] != '.' && name.compare(name.size() - 5, 5, ".json") == 0) {
            names.push_back(name.substr(0, name.size() - 5));
        }
    }
    return names;
}

} // namespace

struct tg_schemas {
    std::map<std::string, std::unique_ptr<Entry>> entries;
};

namespace
{

/* `at` names what is being read, for the message of whatever is thrown. */
void load_all(struct tg_schemas &s, const std::string &dir, std::string &at)
{
    for (const char *prefix : {"", "canonical/"}) {
        at = dir + "/" + prefix;
        for (const std::string &name : json_files(at, *prefix == '\0')) {
            at = dir + "/" + prefix + name + ".json";
            if (s.entries.size() == TG_SCHEMA_FILES_MAX) {
                valijson::throwRuntimeError("more than " + std::to_string(TG_SCHEMA_FILES_MAX) +
                                            " schemas");
            }
            s.entries[prefix + name] = load_entry(at);
        }
    }
    if (s.entries.empty()) {
        at = dir;
        valijson::throwRuntimeError("holds no schema");
    }
}

} // namespace

struct tg_schemas *tg_schemas_load(const char *dir, struct tg_error *err)
{
    try {
        std::string at(dir);

        try {
            auto s = std::make_unique<tg_schemas>();

            load_all(*s, dir, at);
            return s.release();
        } catch (const std::exception &e) {
            tg_error_set(err, "%s: %.300s", at.c_str(), e.what());
        }
    } catch (...) {
        tg_error_set(err, "%s: out of memory", dir);
    }
    return nullptr;
}

void tg_schemas_free(struct tg_schemas *s)
{
    delete s;
}

bool tg_schemas_has(const struct tg_schemas *s, const char *name)
{
    try {
        return s->entries.count(name) != 0;
    } catch (...) {
        return false;
    }
}

int tg_schemas_check(const struct tg_schemas *s, const char *name, const json_t *doc,
                     tg_schema_breach fn, void *arg)
{
    try {
        auto found = s->entries.find(name);
        Breaches out = {fn, arg, 0};

        return found == s->entries.end() ? -1 : check(*found->second, doc, out);
    } catch (const std::exception &e) {
        tg_log(TG_LOG_ERROR, "schema", "check against %s failed inside: %.200s", name, e.what());
    } catch (...) {
        tg_log(TG_LOG_ERROR, "schema", "check against %s failed inside", name);
    }
    return -2;
}
