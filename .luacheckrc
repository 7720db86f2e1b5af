-- Rules run in our sandbox (orchestrator/rules/sandbox.c); Redis scripts in Redis.
max_line_length = 110
std = {
  read_globals = {
    "array", "assert", "decimal", "error", "ipairs", "null", "pairs", "pcall", "re", "require",
    "select", "tonumber", "tostring", "type", "xpcall",
    math = {fields = {"abs", "ceil", "floor", "fmod", "max", "maxinteger", "min", "mininteger",
      "tointeger", "type", "ult"}},
    string = {fields = {"byte", "char", "ends_with", "find", "format", "len", "lower", "rep",
      "split", "starts_with", "sub", "trim", "upper"}},
    table = {fields = {"concat", "insert", "remove", "sort", "unpack"}},
  },
}
files["lua_rules/redis"] = {
  std = "lua51",
  read_globals = {"redis", "cjson", "cmsgpack", "struct", "KEYS", "ARGV"},
}
