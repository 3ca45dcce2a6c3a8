// Any bytes as an .envctl: reading it answers with entries and problems, each with a line of the file.
#include "lua_target.h"

static const char chunk[] = "local dotenv = require 'envctl.config.dotenv'\n"
                            "return function(text)\n"
                            "  local _, lines = text:gsub('\\n', '')\n"
                            "  local scan = dotenv.scan(text)\n"
                            "  for _, list in ipairs { scan.entries, scan.problems } do\n"
                            "    for _, item in ipairs(list) do\n"
                            "      assert(math.type(item.line) == 'integer' and item.line >= 1)\n"
                            "      assert(item.line <= lines + 1 or text:find '\\r')\n"
                            "    end\n"
                            "  end\n"
                            "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return lua_target(chunk, data, size);
}
