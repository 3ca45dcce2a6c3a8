// See envctl/log.h.
#include "envctl/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int log_fd = -1;

bool ec_log_open(const char *path, ec_err *err)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0)
        return ec_err_errno(err, errno, "%s", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ec_err_set(err, "EINVAL", "%s: not a regular file", path);
    }
    ec_log_close();
    log_fd = fd;
    return true;
}

void ec_log_line(const char *line, size_t size)
{
    if (log_fd < 0)
        return;
    ssize_t ignored = write(log_fd, line, size); // a log that cannot be written stops nothing
    (void)ignored;
}

void ec_log_close(void)
{
    if (log_fd >= 0)
        close(log_fd);
    log_fd = -1;
}
