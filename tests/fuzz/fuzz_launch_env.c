// Any bytes as the launch env sections of an .envctl: a service gets text by name, or a reason why not, and what has no
// secret source is marked as no secret.
#include "lua_target.h"

static const char chunk[] =
    "local dotenv = require 'envctl.config.dotenv'\n"
    "local launch = require 'envctl.config.launch_env'\n"
    "local sources = { DATABASE_URL = { value = 'postgresql://u:p@h/d', secret = true }, REDIS_URL = 'redis://r' }\n"
    "local function read(text)\n"
    "  local sections = launch.parse(dotenv.scan(text).sections)\n"
    "  for _, service in ipairs { 'backend', 'frontend', 'worker' } do\n"
    "    local result = launch.resolve(sections, service, sources)\n"
    "    for _, v in ipairs(result.variables) do\n"
    "      assert(v.name:find '^[%a_][%w_]*$', v.name)\n"
    "      assert(utf8.len(v.value) and not v.value:find '%z', v.name)\n"
    "      assert(v.secret or not v.value:find('u:p@h', 1, true) or text:find('u:p@h', 1, true), v.name)\n"
    "    end\n"
    "    for _, s in ipairs(result.skipped) do\n"
    "      assert(type(s.missing) == 'string' and math.type(s.line) == 'integer')\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return function(text)\n"
    "  read(text)\n"
    "  read('# >>> envctl backend launch env >>>\\n' .. text .. '\\n# <<< envctl backend launch env <<<\\n')\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return lua_target(chunk, data, size);
}
