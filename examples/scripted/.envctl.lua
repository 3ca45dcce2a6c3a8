-- Three programs in three languages. envctl finds none of them by itself: this file says what they are.
return {
  envctl = 1,
  dependencies = {
    -- Comes before the services, and hands them SMTP_URL. With an image instead of a command it would be a container.
    mailbox = {
      command = "python3 mailbox/mailbox.py --smtp ${ports.smtp} --http ${ports.http}",
      ports = { smtp = 1025, http = 8025 },
      provides = { SMTP_URL = "smtp://127.0.0.1:${ports.smtp}" },
      ready = { http = "/" },
    },
  },
  services = {
    clock = {
      dir = "clock",
      prepare = { { name = "build", command = "cc -O2 -o clock clock.c", inputs = { "clock.c" }, outputs = { "clock" } } },
      command = "./clock ${port}",
      ready = { http = "/" },
    },
    api = {
      dir = "api",
      command = "python3 server.py --port ${port}",
      env = { CLOCK_URL = "${services.clock.url}" },
      needs = { "clock" },
      ready = { http = "/healthz" },
      restart = "on-failure",
    },
    worker = {
      dir = "worker",
      command = "sh worker.sh",
      env = { API_URL = "${services.api.url}" },
      listens = false,
      critical = false,
      needs = { "api" },
      ready = { log = "working" },
    },
  },
  override = { ["plan.env"] = envctl.include("tools/envctl/env.lua") },
  on = {
    started = {
      optional = true,
      run = function(ev, host)
        host.log("everything of " .. ev.project .. " is up")
      end,
    },
  },
  commands = {
    greet = {
      help = "write a greeting (envctl greet NAME)",
      run = function(ctx, host)
        local name = ctx.args[1] or "world"
        host.write("greeting.txt", "Hello " .. name .. "!\n")
        host.print(host.read("greeting.txt"))
      end,
    },
  },
}
