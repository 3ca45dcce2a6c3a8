--- restart: the same plan as start, with every selected service replaced.
return { run = require('envctl.commands.start').run }
