// Any bytes: decode answers, and quote makes ASCII of them that decodes, and quotes to the same again.
#include "lua_target.h"

static const char chunk[] = "local json = require 'envctl.host.json'\n"
                            "return function(text)\n"
                            "  local value, message = json.decode(text)\n"
                            "  assert(value ~= nil or type(message) == 'string')\n"
                            "  local quoted = json.quote(text)\n"
                            "  assert(not quoted:find '[^ -~]')\n"
                            "  local back = assert(json.decode(quoted))\n"
                            "  assert(utf8.len(back))\n"
                            "  assert(not utf8.len(text) or text:find '[\\xf8-\\xff]' or back == text)\n"
                            "  assert(json.quote(back) == quoted)\n"
                            "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return lua_target(chunk, data, size);
}
