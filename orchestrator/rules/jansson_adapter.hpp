/*
 * jansson_adapter.hpp: lets valijson read jansson documents. Only schema.cc includes it.
 *
 * Ownership: adapters, arrays, objects and iterators borrow; a frozen value (kept inside a parsed
 * schema) holds a reference.
 */
#ifndef TG_RULES_JANSSON_ADAPTER_HPP
#define TG_RULES_JANSSON_ADAPTER_HPP

/* without this valijson aborts the process where it would throw */
#define VALIJSON_USE_EXCEPTIONS 1

#include <jansson.h>

#include <cstdint>
#include <string>
#include <utility>

#include <valijson/internal/adapter.hpp>
#include <valijson/internal/basic_adapter.hpp>
#include <valijson/internal/frozen_value.hpp>

namespace tallygate
{

class JsonAdapter;
class JsonArrayIterator;
class JsonObjectIterator;
using JsonMember = std::pair<std::string, JsonAdapter>;

class JsonArray
{
  public:
    using const_iterator = JsonArrayIterator;
    using iterator = JsonArrayIterator;

    JsonArray() = default;
    explicit JsonArray(json_t *array) : array_(array)
    {
    }
    JsonArrayIterator begin() const;
    JsonArrayIterator end() const;
    size_t size() const
    {
        return json_array_size(array_); /* 0 for none */
    }

  private:
    json_t *array_ = nullptr;
};

class JsonObject
{
  public:
    using const_iterator = JsonObjectIterator;
    using iterator = JsonObjectIterator;

    JsonObject() = default;
    explicit JsonObject(json_t *object) : object_(object)
    {
    }
    JsonObjectIterator begin() const;
    JsonObjectIterator end() const;
    JsonObjectIterator find(const std::string &name) const;
    size_t size() const
    {
        return json_object_size(object_);
    }

  private:
    json_t *object_ = nullptr;
};

class JsonFrozenValue : public valijson::adapters::FrozenValue
{
  public:
    explicit JsonFrozenValue(json_t *value) : value_(json_incref(value))
    {
    }
    JsonFrozenValue(const JsonFrozenValue &) = delete;
    JsonFrozenValue &operator=(const JsonFrozenValue &) = delete;
    ~JsonFrozenValue() override
    {
        json_decref(value_);
    }
    valijson::adapters::FrozenValue *clone() const override
    {
        return new JsonFrozenValue(value_);
    }
    bool equalTo(const valijson::adapters::Adapter &other, bool strict) const override;

  private:
    json_t *value_;
};

/* One JSON value; nullptr counts as an empty object, as valijson expects of a default. */
class JsonValue
{
  public:
    JsonValue() : value_(nullptr)
    {
    }
    explicit JsonValue(json_t *value) : value_(value)
    {
    }
    valijson::adapters::FrozenValue *freeze() const
    {
        return new JsonFrozenValue(value_);
    }
    opt::optional<JsonArray> getArrayOptional() const
    {
        return isArray() ? opt::make_optional(JsonArray(value_)) : opt::optional<JsonArray>();
    }
    bool getArraySize(size_t &out) const
    {
        out = json_array_size(value_);
        return isArray();
    }
    bool getBool(bool &out) const
    {
        out = json_is_true(value_);
        return isBool();
    }
    bool getDouble(double &out) const
    {
        out = json_real_value(value_);
        return isDouble();
    }
    bool getInteger(int64_t &out) const
    {
        out = json_integer_value(value_);
        return isInteger();
    }
    opt::optional<JsonObject> getObjectOptional() const
    {
        return isObject() ? opt::make_optional(JsonObject(value_)) : opt::optional<JsonObject>();
    }
    bool getObjectSize(size_t &out) const
    {
        out = json_object_size(value_);
        return isObject();
    }
    bool getString(std::string &out) const
    {
        if (!isString()) {
            return false;
        }
        out.assign(json_string_value(value_), json_string_length(value_));
        return true;
    }
    static bool hasStrictTypes()
    {
        return true;
    }
    bool isArray() const
    {
        return json_is_array(value_);
    }
    bool isBool() const
    {
        return json_is_boolean(value_);
    }
    bool isDouble() const
    {
        return json_is_real(value_);
    }
    bool isInteger() const
    {
        return json_is_integer(value_);
    }
    bool isNull() const
    {
        return json_is_null(value_);
    }
    bool isNumber() const
    {
        return json_is_number(value_);
    }
    bool isObject() const
    {
        return value_ == nullptr || json_is_object(value_);
    }
    bool isString() const
    {
        return json_is_string(value_);
    }

  private:
    json_t *value_;
};

class JsonAdapter : public valijson::adapters::BasicAdapter<JsonAdapter, JsonArray, JsonMember,
                                                            JsonObject, JsonValue>
{
  public:
    JsonAdapter() = default;
    explicit JsonAdapter(json_t *value) : BasicAdapter(JsonValue(value))
    {
    }
};

class JsonArrayIterator
{
  public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = JsonAdapter;
    using difference_type = std::ptrdiff_t;
    using pointer = JsonAdapter *;
    using reference = JsonAdapter &;

    JsonArrayIterator(json_t *array, size_t at) : array_(array), at_(at)
    {
    }
    JsonAdapter operator*() const
    {
        return JsonAdapter(json_array_get(array_, at_));
    }
    valijson::adapters::DerefProxy<JsonAdapter> operator->() const
    {
        return valijson::adapters::DerefProxy<JsonAdapter>(**this);
    }
    bool operator==(const JsonArrayIterator &o) const
    {
        return at_ == o.at_;
    }
    bool operator!=(const JsonArrayIterator &o) const
    {
        return at_ != o.at_;
    }
    JsonArrayIterator &operator++()
    {
        at_++;
        return *this;
    }
    JsonArrayIterator operator++(int)
    {
        JsonArrayIterator before(*this);
        at_++;
        return before;
    }
    JsonArrayIterator &operator--()
    {
        at_--;
        return *this;
    }
    void advance(std::ptrdiff_t n)
    {
        at_ = static_cast<size_t>(static_cast<std::ptrdiff_t>(at_) + n);
    }

  private:
    json_t *array_;
    size_t at_;
};

class JsonObjectIterator
{
  public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = JsonMember;
    using difference_type = std::ptrdiff_t;
    using pointer = JsonMember *;
    using reference = JsonMember &;

    JsonObjectIterator(json_t *object, void *at) : object_(object), at_(at)
    {
    }
    JsonMember operator*() const
    {
        return JsonMember(json_object_iter_key(at_), JsonAdapter(json_object_iter_value(at_)));
    }
    valijson::adapters::DerefProxy<JsonMember> operator->() const
    {
        return valijson::adapters::DerefProxy<JsonMember>(**this);
    }
    bool operator==(const JsonObjectIterator &o) const
    {
        return at_ == o.at_;
    }
    bool operator!=(const JsonObjectIterator &o) const
    {
        return at_ != o.at_;
    }
    JsonObjectIterator &operator++()
    {
        at_ = json_object_iter_next(object_, at_);
        return *this;
    }
    JsonObjectIterator operator++(int)
    {
        JsonObjectIterator before(*this);
        ++*this;
        return before;
    }

  private:
    json_t *object_;
    void *at_; /* nullptr: the end */
};

inline JsonArrayIterator JsonArray::begin() const
{
    return JsonArrayIterator(array_, 0);
}

inline JsonArrayIterator JsonArray::end() const
{
    return JsonArrayIterator(array_, size());
}

inline JsonObjectIterator JsonObject::begin() const
{
    return JsonObjectIterator(object_, json_object_iter(object_));
}

inline JsonObjectIterator JsonObject::end() const
{
    return JsonObjectIterator(object_, nullptr);
}

inline JsonObjectIterator JsonObject::find(const std::string &name) const
{
    return JsonObjectIterator(object_, json_object_iter_at(object_, name.c_str()));
}

inline bool JsonFrozenValue::equalTo(const valijson::adapters::Adapter &other, bool strict) const
{
    return JsonAdapter(value_).equalTo(other, strict);
}

} // namespace tallygate

namespace valijson::adapters
{

template <> struct AdapterTraits<tallygate::JsonAdapter> {
    using DocumentType = json_t *;
    static std::string adapterName()
    {
        return "JsonAdapter";
    }
};

} // namespace valijson::adapters

#endif
