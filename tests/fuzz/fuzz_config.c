// Any bytes on the standard input of `config --stdin-json`, and as a word KEY=VALUE: values or problems with a path.
// What is accepted is written, and reads back as the same.
#include "lua_target.h"

static const char chunk[] =
    "local json = require 'envctl.util.json'\n"
    "local input = require 'envctl.config.input'\n"
    "local save = require 'envctl.config.save'\n"
    "local dotenv = require 'envctl.config.dotenv'\n"
    "local function check(given)\n"
    "  for _, p in ipairs(given.problems) do\n"
    "    assert(type(p.path) == 'string' and type(p.message) == 'string')\n"
    "  end\n"
    "  for key, value in pairs(given.values) do\n"
    "    local line = save.line(key, value)\n"
    "    if line then\n"
    "      local scan = dotenv.scan(line .. '\\n')\n"
    "      assert(#scan.problems == 0 and #scan.entries == 1, line)\n"
    "      assert(scan.entries[1].key == key and scan.entries[1].value == tostring(value), line)\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return function(text)\n"
    "  local given, document = input.new(), json.decode(text)\n"
    "  if document ~= nil then\n"
    "    input.document(given, document)\n"
    "    check(given)\n"
    "  end\n"
    "  given = input.new()\n"
    "  input.assignment(given, text)\n"
    "  check(given)\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return lua_target(chunk, data, size);
}
