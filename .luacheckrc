std = 'lua54'
max_line_length = 120
max_comment_line_length = 132
self = false
allow_defined = false
unused_args = true
-- Trailing callback arguments that document a signature.
ignore = { '212/_.*' }
files['tests/lua'] = { max_line_length = 140, read_globals = { 'ENVCTL_SOURCE_DIR' } }
-- Stubs only declare.
files['lua/_meta'] = { ignore = { '131', '211', '212', '241', '311', '631' } }
