// Allocation that does not fail: a developer's tool does not limp on without memory.
#ifndef ENVCTL_MEM_H
#define ENVCTL_MEM_H

#include <stddef.h>

/// Zeroed memory; aborts the process when there is none. Free with free().
void *ec_xcalloc(size_t count, size_t size);
/// Like realloc, aborts when there is no memory.
void *ec_xrealloc(void *old, size_t size);
/// A copy of `text`; NULL stays NULL. Free with free().
char *ec_xstrdup(const char *text);

#endif
